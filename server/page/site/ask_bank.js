/** A choice among what is stored on the server that has captions: vocabularies, and labels of classifiers. */
import { askJson } from './api.js';
import { MOST_SHOWN, nameOptions } from './classifiers.js';
import { field, h } from './dom.js';

const ROUTES = ['v1/vocabularies', 'v1/classifiers'];

/** @typedef {{data: {name: string, shipped?: boolean}[], has_more: boolean}} Page */

/** @param {() => void} changed */
export function bankSelect(changed) {
  const select = h('select', { on: { change: changed } }, ...nameOptions('common.none', [], false));

  async function load() {
    const chosen = select.value;
    const pages = await Promise.all(ROUTES.map((route) => /** @type {Promise<Page>} */ (askJson(`${route}?limit=${MOST_SHOWN}`))));
    const names = new Set(pages.flatMap(({ data }) => data.filter(({ shipped }) => !shipped).map(({ name }) => name)));
    const more = pages.some(({ has_more: left }) => left);
    select.replaceChildren(...nameOptions('common.none', [...names], more));
    select.value = names.has(chosen) ? chosen : '';
    if (select.value !== chosen) changed();
  }

  return { element: field('ask.bank', select, 'ask.bank.help'), load, name: () => /** @type {string} */ (select.value) };
}
