/** Try: pictures, labels, and which label fits. */
import { adaptersView } from './adapters.js';
import { ask, patiently } from './api.js';
import { bars } from './bars.js';
import { classifiersView } from './classifiers.js';
import { classifyCode, codeView } from './code.js';
import { button, debounce, field, h, lines } from './dom.js';
import { onLanguage, t } from './i18n.js';
import { can, model, onModel, whyNoModel } from './models.js';
import { picturePlace, preview } from './picture.js';
import { pool } from './pool.js';

const MOST_PICTURES = 24;
const MOST_BARS = 10;
const AT_ONCE = 3;
const PAUSE = 400; // ms after the last letter
const FIRST = { labels: 'cat\ndog\nlemon\nrocket\n自転車', templates: '{}\na picture of a {}' };

/** @param {HTMLElement} panel */
export function view(panel) {
  /** @type {{file: File, card: HTMLElement, out: HTMLElement}[]} */
  let pictures = [];
  let classifier = '';
  let probe = false; // an adapter that has labels of its own
  let running = new AbortController();
  const labels = h('textarea', { rows: 6, spellcheck: 'false' });
  const templates = h('textarea', { rows: 3, spellcheck: 'false' });
  labels.value = FIRST.labels;
  templates.value = FIRST.templates;
  const notice = h('p', { class: 'error', role: 'alert' });
  const cards = h('div', { class: 'answers' });
  const empty = h('p', { class: 'empty', text: 'try.empty' });
  const clear = button('try.clear', () => { pictures = []; cards.replaceChildren(empty); update(); }, { class: 'quiet', hidden: true });
  const code = codeView(classifyCode);
  const written = () => ({ labels: lines(labels.value), templates: lines(templates.value) });
  const saved = classifiersView({ written, chosen: (name, what) => {
    classifier = name;
    if (what) write(what);
    if (probe) adapters.clear();
    update();
  } });
  const adapters = adaptersView({ chosen: (adapter) => {
    probe = adapter?.kind === 'probe';
    if (adapter?.labels?.length) { write(adapter); unsave(); }
    update();
  }, moved: () => update() });

  /** @param {{labels?: string[], templates?: string[]}} what */
  function write(what) {
    labels.value = (what.labels || []).join('\n');
    templates.value = (what.templates || []).join('\n');
  }

  /** What is written is no longer what is saved. */
  function unsave() {
    classifier = '';
    saved.clear();
  }

  /** What a request says beside the picture. */
  function choice() {
    const words = Object.fromEntries(Object.entries(written()).filter(([, value]) => value.length));
    return { ...(classifier ? { classifier } : probe ? {} : words), ...adapters.asked(), ...(model() ? { model: model()?.id || '' } : {}) };
  }

  /** @param {File} file */
  function form(file) {
    const body = new FormData();
    body.append('image', file, file.name);
    for (const [name, value] of Object.entries(choice())) body.append(name, typeof value === 'string' ? value : JSON.stringify(value));
    body.append('top_k', String(MOST_BARS));
    return body;
  }

  /** @param {{file: File, out: HTMLElement}} picture @param {AbortSignal} signal */
  async function classify({ file, out }, signal) {
    out.setAttribute('aria-busy', 'true');
    try {
      const answer = await patiently(() => ask('v1/classify', { form: form(file), signal }), signal);
      const ms = answer.headers.get('X-Total-Ms');
      const { data } = await answer.json();
      out.replaceChildren(bars(data[0].predictions), h('p', { class: 'help', text: 'try.took', args: { ms: Number(ms).toFixed(1) } }));
      out.setAttribute('aria-busy', 'false');
    } catch (error) {
      if (signal.aborted) return; // the next run's now
      out.replaceChildren(h('p', { class: 'error', role: 'alert' }, /** @type {Error} */ (error).message));
      out.setAttribute('aria-busy', 'false');
    }
  }

  /** Why nothing can be asked; '': it can. */
  function obstacle() {
    if (!model()) return whyNoModel();
    if (!can('classify')) return t('try.cannot', { model: model()?.id || '' });
    return classifier || probe || written().labels.length ? '' : t('try.labels.none');
  }

  async function run() {
    running.abort();
    running = new AbortController();
    notice.textContent = obstacle();
    if (!notice.textContent) await pool(pictures, AT_ONCE, (picture) => classify(picture, running.signal));
  }

  const later = debounce(run, PAUSE);

  function update() {
    clear.hidden = pictures.length === 0;
    code.show({ name: pictures[0]?.file.name || 'picture.png', fields: choice() });
    later();
  }

  /** @param {File[]} files */
  function take(files) {
    const made = files.map((file) => {
      const out = h('div', { class: 'out', 'aria-live': 'polite' }, h('p', { class: 'help', text: 'try.waiting' }));
      return { file, out, card: h('article', { class: 'card answer' }, h('figure', {}, preview(file, file.name), h('figcaption', {}, file.name)), out) };
    });
    pictures = [...made, ...pictures].slice(0, MOST_PICTURES);
    cards.replaceChildren(...pictures.map(({ card }) => card));
    update();
  }

  function edited() {
    unsave();
    if (probe) adapters.clear();
    update();
  }

  labels.addEventListener('input', edited);
  templates.addEventListener('input', edited);
  const load = () => { if (model()) { saved.load(); adapters.load(); } };
  onModel(() => { update(); load(); });
  onLanguage(update);
  cards.append(empty);
  panel.append(h('h2', { class: 'hidden', text: 'tab.try' }),
    h('div', { class: 'columns' },
      h('div', { class: 'stack' }, picturePlace({ take, several: true }),
        h('div', { class: 'card stack' }, field('try.labels', labels, 'try.labels.help'), field('try.templates', templates, 'try.templates.help'), saved.element, adapters.element)),
      h('div', { class: 'stack' }, notice, cards, h('div', { class: 'row end' }, clear), code.element)));
  update();
  return { shown: load };
}
