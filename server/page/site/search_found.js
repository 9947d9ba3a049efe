/** What a search has found: pictures, the best first, some at a time. */
import { button, h } from './dom.js';
import { tell } from './i18n.js';
import { loadThumb } from './store.js';

const PAGE = 48;

/** @typedef {{id: string, name: string, score: number}} Found */

/** A picture of the store. @param {string} fingerprint @param {Found} found */
function thumb(fingerprint, { id, name }) {
  const place = h('span', { class: 'blank' }, '…');
  loadThumb(fingerprint, id).then((blob) => {
    if (!blob) { place.textContent = (name.split('.').pop() || '?').slice(0, 5); return; }
    const image = h('img', { src: URL.createObjectURL(blob), alt: name });
    image.addEventListener('load', () => URL.revokeObjectURL(image.src));
    place.replaceWith(image);
  }, () => { place.textContent = '?'; });
  return place;
}

/**
 * @param {{alike: (id: string, name: string, element: HTMLElement) => void, remove: (id: string) => Promise<void>}} acts
 */
export function foundView({ alike, remove }) {
  const list = h('ol', { class: 'found', label: 'search.results' });
  const empty = h('p', { class: 'empty', text: 'search.empty' });
  const more = button('search.more', () => append(), { hidden: true });
  /** @type {{fingerprint: string, all: Found[], at: number}} */
  let now = { fingerprint: '', all: [], at: 0 };

  /** @param {Found} found */
  function card(found) {
    const { fingerprint } = now;
    const drop = button('common.remove', async () => {
      const next = element.nextElementSibling || element.previousElementSibling;
      await remove(found.id);
      element.remove();
      (next?.querySelector('button') || more).focus();
    }, { class: 'quiet' });
    tell(drop, 'aria-label', 'search.remove.of', { name: found.name });
    const like = button('search.similar', () => alike(found.id, found.name, thumb(fingerprint, found)));
    tell(like, 'aria-label', 'search.similar.of', { name: found.name });
    const element = h('li', {}, thumb(fingerprint, found), h('span', { class: 'name', title: found.name }, found.name.split('/').pop()),
      Number.isNaN(found.score) ? null : h('span', { class: 'score' }, found.score.toFixed(3)), h('div', { class: 'row' }, like, drop));
    return element;
  }

  function append() {
    list.append(...now.all.slice(now.at, now.at + PAGE).map(card));
    now.at += PAGE;
    more.hidden = now.at >= now.all.length;
  }

  return {
    element: h('div', { class: 'stack' }, empty, list, h('div', { class: 'row center' }, more)),
    /** @param {{fingerprint: string}} collection @param {Found[]} all */
    show({ fingerprint }, all) {
      now = { fingerprint, all, at: 0 };
      empty.hidden = all.length > 0;
      list.replaceChildren();
      append();
    },
  };
}
