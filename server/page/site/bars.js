/** Labels by their scores, as bars. */
import { h } from './dom.js';
import { percent, tell } from './i18n.js';

/** @typedef {{label: string, score: number, cosine: number}} Prediction */

/** @param {Prediction[]} predictions */
export function bars(predictions) {
  return h('ol', { class: 'bars' }, ...predictions.map(({ label, score, cosine }) => {
    const bar = h('span', { class: 'bar', 'aria-hidden': 'true' });
    bar.style.setProperty('--share', String(score));
    const row = h('li', {}, h('span', { class: 'what' }, label), bar, h('span', { class: 'score' }, percent(score)));
    tell(row, 'title', 'try.cosine', { cosine: cosine.toFixed(4) });
    return row;
  }));
}
