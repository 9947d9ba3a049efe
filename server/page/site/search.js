/** Search: pictures embedded by the server, kept in the browser, found by words, by a picture, or by both. */
import { Collection } from './collection.js';
import { base64 } from './api.js';
import { button, field, h, say } from './dom.js';
import { embed, embedAll } from './embedding.js';
import { filesOf, sourcesOf } from './files.js';
import { number, t, tell } from './i18n.js';
import { can, model, onModel, whyNoModel } from './models.js';
import { preview, takeDropped } from './picture.js';
import { foundView } from './search_found.js';

/** Where pictures come in. @param {(files: File[]) => void} take */
function intake(take) {
  const chosen = (/** @type {Event} */ event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    take([...(input.files || [])]);
    input.value = '';
  };
  const common = { type: 'file', multiple: true, hidden: true, on: { change: chosen } };
  const folder = h('input', { ...common, webkitdirectory: true });
  const files = h('input', { ...common, accept: 'image/*,.zip' });
  const place = h('div', { class: 'place' }, folder, files, h('p', { class: 'invite', text: 'search.invite' }),
    h('div', { class: 'row center' }, button('search.folder', () => folder.click(), { class: 'primary' }), button('search.files', () => files.click())),
    h('p', { class: 'help', text: 'search.kept' }));
  takeDropped(place, async (data) => take(await filesOf(data)));
  return place;
}

/** How far the embedding is. @param {() => void} stop */
function progressView(stop) {
  const bar = h('progress', { label: 'search.bar' });
  const line = h('p', { class: 'help numbers', role: 'status' });
  const failures = h('ul', { class: 'failures' });
  const list = h('details', { hidden: true }, h('summary', { text: 'search.failures' }), failures);
  const cancel = button('common.cancel', stop, { hidden: true });
  const element = h('div', { class: 'card stack', hidden: true }, h('div', { class: 'row middle' }, h('div', { class: 'grow stack' }, bar, line), cancel), list);
  return {
    element,
    begin() {
      element.hidden = cancel.hidden = bar.hidden = false;
      failures.replaceChildren();
      list.hidden = true;
    },
    /** @param {number} done @param {number} found @param {number} perSecond */
    show(done, found, perSecond) {
      bar.max = found;
      bar.value = done;
      tell(line, 'text', 'search.progress', { done: number(done), found: number(found), rate: number(perSecond, { maximumFractionDigits: 0 }) });
    },
    /** @param {string} key @param {Record<string, string | number>} [args] */
    tell: (key, args) => tell(line, 'text', key, args),
    /** @param {string} name @param {string} why */
    failed(name, why) {
      list.hidden = false;
      failures.append(h('li', {}, `${name}: ${why}`));
    },
    /** @param {string} key @param {Record<string, string | number>} [args] */
    end(key, args) {
      cancel.hidden = bar.hidden = true;
      tell(line, 'text', key, args);
    },
  };
}

/** @param {HTMLElement} panel */
export function view(panel) {
  /** @type {Collection | null} */
  let collection = null;
  /** @type {{name: string, vector: Float32Array, element: HTMLElement} | null} */
  let picture = null;
  /** @type {AbortController | null} */
  let running = null;
  /** @type {File[]} */
  const waiting = [];
  let turn = 0; // of searches and loads: what an older one finds is not shown
  /** The words' vector, for as long as neither they nor the model change. */
  let asked = { text: '', model: '', vector: /** @type {Float32Array | undefined} */ (undefined) };
  const words = h('input', { type: 'search', hint: 'search.text.hint', autocomplete: 'off' });
  const why = h('p', { class: 'error', role: 'alert' });
  const count = h('p', { class: 'help' });
  const balance = h('input', { type: 'range', min: 0, max: 1, step: 0.05, value: 0.5, on: { input: () => search() } });
  const balanceField = field('search.balance', balance, 'search.balance.help');
  const example = h('input', { type: 'file', accept: 'image/*', hidden: true, on: { change: () => { byFile(example.files[0]); example.value = ''; } } });
  const shown = h('div', { class: 'row middle query' });
  const progress = progressView(() => running?.abort());
  const found = foundView({ alike: (id, name, element) => { picture = { name, vector: /** @type {any} */ (collection?.vector(id)), element }; words.value = ''; search(); }, remove });
  const clear = button('search.removeall', removeAll, { class: 'quiet' });

  /** @param {() => Promise<void>} act */
  async function trying(act) {
    why.textContent = '';
    try {
      await act();
    } catch (error) {
      why.textContent = /** @type {Error} */ (error).message;
    }
  }

  function counted() {
    const n = collection?.size || 0;
    tell(count, 'text', 'search.count', { n: number(n), model: model()?.id || '' });
    clear.hidden = n === 0;
  }

  function showPicture() {
    balanceField.hidden = !picture || !words.value.trim();
    shown.replaceChildren(...(picture ? [picture.element, h('span', { class: 'help' }, t('search.similar.of', { name: picture.name })),
      button('search.picture.remove', () => { picture = null; search(); }, { class: 'quiet' })] : []));
  }

  async function vectorOf(/** @type {string} */ text) {
    const id = model()?.id || '';
    if (asked.text !== text || asked.model !== id) asked = { text, model: id, vector: text ? (await embed([{ text }], id))[0] : undefined };
    return asked.vector;
  }

  const search = () => trying(async () => {
    const mine = ++turn;
    if (!collection) return;
    showPicture();
    const text = await vectorOf(words.value.trim());
    if (mine !== turn || !collection) return;
    found.show(collection, collection.search({ text, picture: picture?.vector, balance: Number(balance.value) }));
    counted();
  });

  /** @param {File | undefined} file */
  const byFile = (file) => trying(async () => {
    if (!file) return;
    const [vector] = await embed([{ image: await base64(file) }], model()?.id || '');
    picture = { name: file.name, vector, element: preview(file, file.name) };
    await search();
  });

  /** @param {string} id */
  async function remove(id) {
    await trying(async () => { await collection?.remove(id); });
    say(t('search.removed'));
    counted();
  }

  async function removeAll() {
    if (!collection || !confirm(t('search.removeall.sure', { n: number(collection.size) }))) return;
    await trying(async () => { await collection?.clear(); });
    say(t('search.removed'));
    await search();
  }

  /** @param {import('./files.js').Source[]} sources what is not there yet @param {number} known @param {Collection} into @param {AbortSignal} signal */
  async function embedSources(sources, known, into, signal) {
    let done = 0;
    let failed = 0;
    const began = performance.now();
    const show = () => progress.show(done, sources.length, done / ((performance.now() - began) / 1000));
    progress.begin();
    show();
    try {
      await embedAll(sources, model()?.id || '', signal, {
        keep: async (pictures) => {
          await into.add(pictures.map(({ source, vector, thumb }) => ({ id: source.id, name: source.name, vector, thumb })));
          done += pictures.length;
          show();
          counted();
        },
        failed: (source, reason) => { failed++; done++; progress.failed(source.name, reason); show(); },
        waiting: (seconds) => progress.tell('search.busy', { s: Math.ceil(seconds) }),
      });
      progress.end('search.finished', { added: number(done - failed), known: number(known), failed: number(failed) });
    } catch (error) {
      progress.end('search.stopped');
      if (/** @type {Error} */ (error).name !== 'AbortError') throw error;
    }
  }

  /** @param {File[]} files @param {Collection} into */
  const add = (files, into) => trying(async () => {
    const mine = running = new AbortController();
    try {
      const sources = [...new Map((await sourcesOf(files)).map((source) => [source.id, source])).values()];
      if (!sources.length) throw new Error(t('search.none'));
      const fresh = sources.filter(({ id }) => !into.has(id));
      await embedSources(fresh, sources.length - fresh.length, into, mine.signal);
    } finally {
      mine.abort(); // of two batches the other one's, where one has failed
      running = null;
    }
    await search();
  });

  /** What comes before the collection is open, or while others are embedded, waits its turn. */
  async function addWaiting() {
    if (!collection || running || !waiting.length) return;
    await add(waiting.splice(0), collection);
    addWaiting();
  }

  /** @param {File[]} files */
  function take(files) {
    waiting.push(...files);
    addWaiting();
  }

  const load = () => trying(async () => {
    running?.abort();
    collection = null;
    picture = null;
    const mine = ++turn;
    const chosen = model();
    if (!chosen) throw new Error(whyNoModel());
    if (!can('embeddings') || !(/** @type {any} */ (chosen).image)) throw new Error(t('search.cannot', { model: chosen.id }));
    const loaded = await Collection.load(chosen.fingerprint, chosen.embed).catch((error) => { throw new Error(t('search.store', { why: String(error) })); });
    if (mine !== turn) return;
    collection = loaded;
    await search();
    addWaiting();
  });

  panel.append(h('div', { class: 'stack' }, h('h2', { class: 'hidden', text: 'tab.search' }), intake(take), progress.element,
    h('form', { class: 'card stack', on: { submit: (/** @type {Event} */ event) => { event.preventDefault(); search(); } } },
      h('div', { class: 'row' }, field('search.text', words), example, h('button', { type: 'submit', class: 'primary', text: 'search.go' }),
        button('search.picture', () => example.click())), shown, balanceField),
    why, h('div', { class: 'row middle' }, h('div', { class: 'grow' }, count), clear), found.element));
  onModel(load);
  load();
  return {};
}
