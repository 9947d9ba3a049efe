/** What a language model is told of a picture: words by their cosines, captions, and the prompt that they are in. */
import { h } from './dom.js';
import { number, tell } from './i18n.js';

/** @typedef {{term?: string, text?: string, cosine: number, score: number}} Word */
/** @typedef {{tags: Word[], attributes: Word[], captions: Word[], prompt: string}} Description */

/** @param {number} value */
const cosineOf = (value) => number(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** @param {Word} word */
function itemOf({ term, text, cosine }) {
  const item = h('li', {}, h('span', {}, term ?? text), ' ', h('span', { class: 'score' }, cosineOf(cosine)));
  tell(item, 'title', 'try.cosine', { cosine: cosine.toFixed(4) });
  return item;
}

export function toldView() {
  const lists = h('div', { class: 'stack' });
  const prompt = h('pre', { tabindex: '0', role: 'region', label: 'ask.prompt' });
  const element = h('section', { class: 'card stack told', hidden: true }, h('h3', { text: 'ask.told' }), lists,
    h('div', {}, h('h4', { text: 'ask.prompt' }), prompt));

  /** @param {string} key @param {Word[]} words @param {string} kind */
  const list = (key, words, kind) => h('div', {}, h('h4', { text: key }),
    words.length ? h('ul', { class: kind }, ...words.map(itemOf)) : h('p', { class: 'help', text: 'common.none' }));

  return {
    element,
    /** @param {Description} description @param {boolean} bank whether captions were asked for */
    show({ tags, attributes, captions, prompt: text }, bank) {
      lists.replaceChildren(list('ask.tags', tags, 'terms'), list('ask.attributes', attributes, 'terms'),
        ...(bank ? [list('ask.captions', captions, 'captions')] : []));
      prompt.textContent = text;
      element.hidden = false;
    },
    /** @param {string} text */
    told(text) { prompt.textContent = text; },
    clear() { element.hidden = true; },
  };
}
