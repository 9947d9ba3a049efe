/** Teach: classes by their pictures, learnt by the server (/v1/adapters), watched, and compared on pictures that were not taught. */
import { adapterPath, adaptersView } from './adapters.js';
import { ApiError, ask, askJson, patiently, pause } from './api.js';
import { debounce, field, h } from './dom.js';
import { onLanguage, t } from './i18n.js';
import { always } from './kept.js';
import { model, onModel, whyNoModel } from './models.js';
import { pictureSet } from './picture_set.js';
import { classesView } from './teach_classes.js';
import { compareView } from './teach_compare.js';
import { isOver, progressView } from './teach_progress.js';

const WATCHED = 'limoe-teaching'; // the job that runs: it outlives this page
const EVERY = 1000; // ms
const PAUSE = 300; // ms after the slider's last move
const NAME = 'taught';

/** The pictures as a form, each as it is. @param {import('./teach_classes.js').Example[]} examples */
async function formOf(examples) {
  const form = new FormData();
  form.append('model', model()?.id || '');
  for (const { label, source } of examples) form.append(`examples[${label}]`, await source.open(), source.name.split('/').pop());
  return form;
}

/** @param {HTMLElement} panel */
export function view(panel) {
  /** @type {any} */
  let job = null;
  /** @type {import('./adapters.js').Adapter | undefined} */
  let adapter;
  let watching = new AbortController();
  let served = ''; // what of the job's adapter is compared
  let here = false;
  const why = h('p', { class: 'error', role: 'alert' });
  const failed = (/** @type {string} */ said) => { why.textContent = said; };
  const classes = classesView({ failed });
  const checks = pictureSet({ changed: () => compare(), failed });
  const results = compareView();
  const adapters = adaptersView({ chosen: (one) => { adapter = one; compare(); }, moved: () => later(), deleted: forget });
  const progress = progressView(cancel);
  const name = h('input', { type: 'text', required: true, maxlength: 128, pattern: '[A-Za-z0-9_\\-][A-Za-z0-9._\\-]*', autocomplete: 'off', spellcheck: 'false', on: { input: () => { named = true; } } });
  const start = h('button', { type: 'submit', class: 'primary', text: 'teach.start' });
  let named = false; // by the reader

  /** @param {() => Promise<void>} act */
  async function trying(act) {
    why.textContent = '';
    await act().catch((error) => failed(error.message));
  }

  const compare = () => results.show({ sources: checks.sources(), adapter, asked: adapters.asked(), model: model()?.id || '' });
  const later = debounce(compare, PAUSE);

  /** A name that no adapter has, until the reader writes one. */
  function suggest() {
    if (named) return;
    const taken = adapters.names();
    let free = NAME;
    for (let i = 2; taken.includes(free); i++) free = `${NAME}-${i}`;
    name.value = free;
  }

  /** @param {string} [chosen] */
  async function list(chosen) {
    await adapters.load(chosen);
    suggest();
  }

  /** @param {any} now */
  function show(now) {
    job = now;
    start.disabled = !isOver(now);
    progress.show(now);
    const found = now.kind ? `${now.kind} ${now.created} ${isOver(now)}` : '';
    if (found && found !== served) list(now.name);
    served = found;
  }

  /** Until the job has ended, also through a restart of the server. @param {string} of its name */
  async function watch(of) {
    watching.abort();
    watching = new AbortController();
    const { signal } = watching;
    while (!signal.aborted) {
      try {
        const now = await patiently(() => askJson(adapterPath(of), { signal }), signal);
        why.textContent = '';
        show(now);
        if (isOver(now)) return ended();
      } catch (error) {
        if (signal.aborted) return;
        failed(/** @type {Error} */ (error).message);
        if (!(error instanceof ApiError) || error.status) return ended(/** @type {any} */ (error).status !== 404);
      }
      await pause(EVERY, signal).catch(() => {});
    }
  }

  /** @param {boolean} [kept] the job may go on, unseen */
  function ended(kept = false) {
    if (!kept) always.set(WATCHED, '');
    start.disabled = false;
  }

  /** An adapter that has been deleted has no job any more. @param {string} of */
  function forget(of) {
    if (job?.name !== of || isOver(job)) return;
    watching.abort();
    ended();
    progress.show({ ...job, state: 'cancelled', kind: undefined, stage: null });
  }

  function cancel() {
    const { name: of, kind } = job;
    if (kind && !confirm(t('teach.cancel.sure', { name: of }))) return;
    trying(async () => {
      watching.abort(); // it would ask for what is no longer there
      await ask(adapterPath(of), { method: 'DELETE' }).catch((error) => { watch(of); throw error; });
      forget(of);
      await list();
      start.focus();
    });
  }

  /** @param {Event} event */
  function begin(event) {
    event.preventDefault();
    trying(async () => {
      if (!model()) throw new Error(whyNoModel());
      const examples = classes.examples();
      const of = name.value;
      if (adapters.has(of) && !confirm(t('teach.replace', { name: of }))) return;
      await send(of, examples);
      if (here) watch(of);
    });
  }

  /** @param {string} of @param {import('./teach_classes.js').Example[]} examples */
  async function send(of, examples) {
    start.disabled = true;
    progress.sending(examples.length);
    try {
      await ask(adapterPath(of), { form: await formOf(examples) });
      always.set(WATCHED, of);
      served = '';
    } catch (error) {
      start.disabled = false;
      progress.hide();
      throw error;
    }
  }

  /** What the server has, and a job that was left running. */
  function look() {
    if (!here || !model()) return;
    list();
    const running = always.get(WATCHED);
    if (running) watch(running);
  }

  onModel(look);
  onLanguage(() => { if (job) progress.show(job); compare(); });
  suggest();
  panel.append(h('div', { class: 'stack' }, h('h2', { class: 'hidden', text: 'tab.teach' }),
    h('div', { class: 'columns' }, classes.element,
      h('div', { class: 'stack' },
        h('section', { class: 'card stack' }, h('h3', { text: 'teach.checks' }), h('p', { class: 'help', text: 'teach.checks.help' }), checks.element),
        h('form', { class: 'card stack', on: { submit: begin } }, h('div', { class: 'row' }, field('teach.name', name), start), why),
        progress.element)),
    h('section', { class: 'stack' }, h('h3', { text: 'teach.compare' }), adapters.element, results.element)));
  return { shown: () => { here = true; look(); }, left: () => { here = false; watching.abort(); } };
}
