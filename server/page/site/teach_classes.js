/** What is to be taught: classes, each with a name and pictures; typed and dropped, or read from a folder of folders. */
import { button, field, h } from './dom.js';
import { filesOf, sourcesOf } from './files.js';
import { t, tell } from './i18n.js';
import { pictureSet } from './picture_set.js';
import { takeDropped } from './picture.js';

const FEWEST = 2;
const MOST_LETTERS = 256;
/** Letters that the name of a form's part does not carry as they are. */
const UNSENT = /["\\]/;

/** @typedef {import('./files.js').Source} Source */
/** @typedef {{label: string, source: Source}} Example */

/** The folder that a picture lies in. @param {string} path */
const folderOf = (path) => path.split('/').at(-2) || '';

/** @param {{failed: (why: string) => void}} calls */
export function classesView({ failed }) {
  /** @type {{name: any, set: ReturnType<typeof pictureSet>, element: HTMLElement, drop: HTMLElement}[]} */
  let classes = [];
  const list = h('div', { class: 'classes' });
  const add = button('teach.add', () => addClass('').name.focus());
  const chosen = () => { take([...(folder.files || [])]); folder.value = ''; };
  const folder = h('input', { type: 'file', multiple: true, webkitdirectory: true, hidden: true, on: { change: chosen } });
  const whole = h('div', { class: 'set' }, folder, h('div', { class: 'row' }, add, button('teach.folder', () => folder.click())), h('p', { class: 'help', text: 'teach.folder.help' }));

  function renumber() {
    classes.forEach(({ element, drop }, i) => {
      tell(element, 'aria-label', 'teach.class', { n: i + 1 });
      tell(drop, 'aria-label', 'teach.class.remove', { n: i + 1 });
    });
  }

  /** @param {string} label */
  function addClass(label) {
    const name = h('input', { type: 'text', maxlength: MOST_LETTERS, autocomplete: 'off' });
    name.value = label;
    const set = pictureSet({ changed: () => {}, failed });
    const drop = button('common.remove', () => removeClass(one), { class: 'quiet' });
    const element = h('div', { class: 'card class', role: 'group' }, h('div', { class: 'row' }, field('teach.class.name', name), drop), set.element);
    const one = { name, set, element, drop };
    classes.push(one);
    list.append(element);
    renumber();
    return one;
  }

  /** @param {typeof classes[0]} one */
  function removeClass(one) {
    classes = classes.filter((other) => other !== one);
    one.element.remove();
    renumber();
    add.focus();
  }

  /** The class of this name, one without a name or pictures, or a new one. @param {string} label */
  function classOf(label) {
    const found = classes.find(({ name }) => name.value.trim() === label) || classes.find(({ name, set }) => !name.value.trim() && !set.sources().length);
    if (!found) return addClass(label);
    found.name.value = label;
    return found;
  }

  /** @param {File[]} files */
  async function take(files) {
    try {
      const sources = await sourcesOf(files);
      const loose = sources.find(({ name }) => !folderOf(name));
      if (loose) throw new Error(t('teach.loose', { name: loose.name }));
      if (files.length && !sources.length) throw new Error(t('search.none'));
      Map.groupBy(sources, ({ name }) => folderOf(name)).forEach((some, label) => classOf(label).set.add(some));
    } catch (error) {
      failed(/** @type {Error} */ (error).message);
    }
  }

  /** Why these are not to be sent; '': they are. @param {{label: string, sources: Source[]}[]} filled */
  function obstacle(filled) {
    const labels = filled.map(({ label }) => label);
    const twice = labels.find((label, i) => labels.indexOf(label) !== i);
    const bare = filled.find(({ sources }) => !sources.length);
    const odd = labels.find((label) => UNSENT.test(label));
    if (labels.includes('')) return t('teach.unnamed');
    if (bare) return t('teach.bare', { name: bare.label });
    if (twice !== undefined) return t('teach.twice', { name: twice });
    if (odd !== undefined) return t('teach.quotes', { name: odd });
    return filled.length < FEWEST ? t('teach.few') : '';
  }

  takeDropped(whole, async (data) => take(await filesOf(data)));
  for (let i = 0; i < FEWEST; i++) addClass('');
  return {
    element: h('section', { class: 'stack' }, h('h3', { text: 'teach.classes' }), h('p', { class: 'help', text: 'teach.classes.help' }), list, whole),
    /** All pictures with their labels. Throws what is missing. @returns {Example[]} */
    examples() {
      const filled = classes.map(({ name, set }) => ({ label: name.value.trim(), sources: set.sources() })).filter(({ label, sources }) => label || sources.length);
      const why = obstacle(filled);
      if (why) throw new Error(why);
      return filled.flatMap(({ label, sources }) => sources.map((source) => ({ label, source })));
    },
  };
}
