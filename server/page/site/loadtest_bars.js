/** How latencies spread: a bar for each bucket of the server's own histograms. */
import { short } from './chart.js';
import { h } from './dom.js';
import { number, percent, t } from './i18n.js';

/** Upper bounds of latency_counts in ms; what is above has no bound. */
const BOUNDS = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000];
const QUANTILES = ['p50', 'p90', 'p99', 'p999', 'max'];

/** @param {number} i */
const nameOf = (i) => (i < BOUNDS.length ? `≤ ${number(BOUNDS[i])} ms` : `> ${number(BOUNDS[BOUNDS.length - 1])} ms`);

export function distribution() {
  const body = h('div', { class: 'stack' });
  return {
    element: h('section', { class: 'card stack' }, h('h3', { text: 'loadtest.spread' }), body),
    /** @param {number[]} counts @param {Record<string, number | null>} latency */
    show(counts, latency) {
      const all = counts.reduce((sum, n) => sum + n, 0);
      const most = Math.max(1, ...counts);
      const first = counts.findIndex((n) => n > 0);
      const last = counts.findLastIndex((n) => n > 0);
      const rows = counts.map((n, i) => ({ n, i })).slice(Math.max(0, first), last + 1).map(({ n, i }) => {
        const bar = h('span', { class: 'bar', 'aria-hidden': 'true' });
        bar.style.setProperty('--share', String(n / most));
        return h('li', {}, h('span', { class: 'what numbers' }, nameOf(i)), bar, h('span', { class: 'score' }, percent(n / all)));
      });
      const line = QUANTILES.map((q) => `${q} ${latency[q] === null || latency[q] === undefined ? '–' : short(/** @type {number} */ (latency[q]))}`).join(' · ');
      body.replaceChildren(rows.length ? h('ol', { class: 'bars even' }, ...rows) : h('p', { class: 'help' }, t('chart.nothing')), h('p', { class: 'help numbers' }, `${line} ms`));
    },
  };
}
