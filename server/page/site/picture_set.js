/** A set of pictures: dropped or chosen, seen, and taken out one by one. */
import { button, h } from './dom.js';
import { filesOf, sourcesOf } from './files.js';
import { number, onLanguage, t, tell } from './i18n.js';
import { preview, takeDropped } from './picture.js';

const MOST_SHOWN = 24;

/** @typedef {import('./files.js').Source} Source */

/** @param {{changed: () => void, failed: (why: string) => void}} calls */
export function pictureSet({ changed, failed }) {
  /** @type {Map<string, Source>} */
  const sources = new Map();
  /** @type {Map<string, HTMLElement>} those that are seen */
  const items = new Map();
  const chosen = () => { take([...(input.files || [])]); input.value = ''; };
  const input = h('input', { type: 'file', accept: 'image/*,.zip', multiple: true, hidden: true, on: { change: chosen } });
  const choose = button('set.choose', () => input.click());
  const count = h('span', { class: 'help numbers' });
  const list = h('ul', { class: 'thumbs' });
  const element = h('div', { class: 'set' }, input, h('div', { class: 'row middle' }, choose, count), list);

  /** @param {Source} source */
  function itemOf(source) {
    const drop = h('button', { type: 'button', class: 'sample', on: { click: () => remove(source.id) } });
    tell(drop, 'aria-label', 'search.remove.of', { name: source.name });
    tell(drop, 'title', 'search.remove.of', { name: source.name });
    source.open().then((blob) => drop.replaceChildren(preview(blob, '')), (error) => failed(error.message));
    return h('li', {}, drop);
  }

  /** @param {string} id */
  function remove(id) {
    const item = items.get(id);
    const next = (item?.nextElementSibling || item?.previousElementSibling)?.querySelector('button');
    item?.remove();
    items.delete(id);
    sources.delete(id);
    draw();
    (next || choose).focus();
    changed();
  }

  function draw() {
    for (const [id, source] of sources) {
      if (items.size >= MOST_SHOWN) break;
      if (!items.has(id)) items.set(id, itemOf(source));
      list.append(/** @type {HTMLElement} */ (items.get(id)));
    }
    const more = sources.size - items.size;
    tell(count, 'text', sources.size ? (more ? 'set.count.more' : 'set.count') : 'set.none', { n: number(sources.size), more: number(more) });
  }

  /** @param {Source[]} some */
  function add(some) {
    some.forEach((source) => sources.set(source.id, source));
    draw();
    changed();
  }

  /** @param {File[]} files */
  async function take(files) {
    try {
      const found = await sourcesOf(files);
      if (files.length && !found.length) throw new Error(t('search.none'));
      add(found);
    } catch (error) {
      failed(/** @type {Error} */ (error).message);
    }
  }

  takeDropped(element, async (data) => take(await filesOf(data)));
  onLanguage(draw);
  draw();
  return { element, add, sources: () => [...sources.values()] };
}
