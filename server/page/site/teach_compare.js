/** Pictures that were not taught, answered by the model as it is and by an adapter, side by side. */
import { ask, base64, patiently } from './api.js';
import { bars } from './bars.js';
import { h } from './dom.js';
import { t } from './i18n.js';
import { preview } from './picture.js';
import { pool } from './pool.js';

const BASE = 'base'; // the server's name of the model as it is
const MOST_BARS = 5;
const AT_ONCE = 3;

/** @typedef {import('./files.js').Source} Source */
/** @typedef {import('./adapters.js').Adapter} Adapter */
/** @typedef {{sources: Source[], adapter?: Adapter, asked: object, model: string}} Compared */

export function compareView() {
  /** @type {Map<string, {out: HTMLElement, card: HTMLElement}>} */
  let cards = new Map();
  let running = new AbortController();
  const empty = h('p', { class: 'empty', text: 'teach.compare.empty' });
  const list = h('div', { class: 'answers' });

  /** @param {Source} source */
  function cardOf({ name, open }) {
    const out = h('div', { class: 'out pair', 'aria-live': 'polite' });
    const figure = h('figure', {});
    open().then((blob) => figure.append(preview(blob, name), h('figcaption', {}, name)), (error) => out.append(h('p', { class: 'error' }, error.message)));
    return { out, card: h('article', { class: 'card answer' }, figure, out) };
  }

  /** @param {Source} source @param {Compared} compared @param {AbortSignal} signal */
  async function answer({ id, open }, { adapter, asked, model }, signal) {
    const out = /** @type {HTMLElement} */ (cards.get(id)?.out);
    out.setAttribute('aria-busy', 'true');
    try {
      const choice = adapter?.kind === 'probe' ? {} : { labels: adapter?.labels, templates: adapter?.templates };
      const json = { image: await base64(await open()), ...choice, ...asked, adapter: [BASE, adapter?.name], model, top_k: MOST_BARS };
      const { variants } = await (await patiently(() => ask('v1/classify', { json, signal }), signal)).json();
      out.replaceChildren(...variants.map((/** @type {any} */ one) => h('section', {},
        h('h4', {}, one.adapter === BASE ? t('teach.compare.before') : t('teach.compare.after', { name: one.adapter })), bars(one.data[0].predictions))));
    } catch (error) {
      if (signal.aborted) return; // the next run's now
      out.replaceChildren(h('p', { class: 'error', role: 'alert' }, /** @type {Error} */ (error).message));
    }
    out.setAttribute('aria-busy', 'false');
  }

  return {
    element: h('div', { class: 'stack' }, empty, list),
    /** @param {Compared} compared */
    async show(compared) {
      running.abort();
      running = new AbortController();
      const { sources, adapter } = compared;
      const shown = adapter ? sources : [];
      cards = new Map(shown.map((source) => [source.id, cards.get(source.id) || cardOf(source)]));
      list.replaceChildren(...[...cards.values()].map(({ card }) => card));
      empty.hidden = shown.length > 0;
      await pool(shown, AT_ONCE, (source) => answer(source, compared, running.signal));
    },
  };
}
