/** Load tests that have been made, kept in the browser and compared. */
import { lineChart, short } from './chart.js';
import { button, h } from './dom.js';
import { language, number, onLanguage, t, tell } from './i18n.js';
import { dropResult, keepResult, loadResults } from './store.js';

const QUANTILES = ['min', 'p50', 'p90', 'p99', 'p999', 'max'];
const COLUMNS = ['compare', 'when', 'target', 'rate', 'duration', 'arrivals', 'sent', 'good', 'refused', 'bad', 'achieved'];

/** @param {any} test */
const when = (test) => new Intl.DateTimeFormat(language(), { dateStyle: 'short', timeStyle: 'medium' }).format(test.created * 1000);
/** Ids begin anew with the server: the time makes them one of a kind. @param {any} test */
const idOf = (test) => (test.test ? test.id : `${test.created}-${test.id}`);
/** @param {number | null | undefined} value */
const cell = (value) => (value === null || value === undefined ? '–' : short(value));

/** @param {any} test */
function cellsOf({ request, result }) {
  const { sent, ok, refused, failed, dropped, achieved_rps: achieved, latency_ms: latency } = result;
  return [request.target || '—', number(request.rate), number(request.duration), t(`loadtest.arrivals.${request.arrivals}`), number(sent), number(ok), number(refused), number(failed + dropped),
    cell(achieved), ...QUANTILES.slice(1).map((q) => cell(latency[q]))];
}

/** @param {(why: string) => void} failed */
export function resultsView(failed) {
  /** @type {any[]} */
  let tests = [];
  /** @type {Set<string>} those that are compared */
  const picked = new Set();
  const chart = lineChart('loadtest.distribution');
  chart.element.classList.add('compared');
  const empty = h('p', { class: 'empty', text: 'loadtest.none' });
  const body = h('tbody');
  const table = h('div', { class: 'card wide', tabindex: '0', role: 'region', label: 'loadtest.results' }, h('table', {}, h('caption', { text: 'loadtest.results' }),
    h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', { scope: 'col', text: `loadtest.${name}` })), ...QUANTILES.slice(1).map((q) => h('th', { scope: 'col' }, q)),
      h('td', {}))), body));

  /** @param {any} test */
  function row(test) {
    const id = idOf(test);
    const check = h('input', { type: 'checkbox', on: { change: () => { picked[check.checked ? 'add' : 'delete'](id); compare(); } } });
    check.checked = picked.has(id);
    tell(check, 'aria-label', 'loadtest.compare.one', { when: when(test) });
    const drop = button('common.remove', () => remove(id), { class: 'quiet' });
    tell(drop, 'aria-label', 'loadtest.remove.of', { when: when(test) });
    return h('tr', {}, h('td', {}, check), h('th', { scope: 'row' }, when(test)), ...cellsOf(test).map((text) => h('td', {}, text)), h('td', {}, drop));
  }

  function compare() {
    const compared = tests.filter((test) => picked.has(idOf(test)));
    chart.element.hidden = compared.length === 0;
    chart.show(compared.map((test) => ({ name: `${when(test)}, ${number(test.request.rate)}/s`, values: QUANTILES.map((q) => test.result.latency_ms[q] ?? null) })),
      [QUANTILES[0], /** @type {string} */ (QUANTILES.at(-1))]);
  }

  function draw() {
    empty.hidden = tests.length > 0;
    table.hidden = tests.length === 0;
    body.replaceChildren(...tests.map(row));
    compare();
  }

  async function load() {
    tests = (await loadResults()).sort((a, b) => b.created - a.created);
    draw();
  }

  /** @param {string} id */
  async function remove(id) {
    picked.delete(id);
    await dropResult(id).then(load, (error) => failed(String(error)));
    (body.querySelector('button') || table).focus();
  }

  onLanguage(draw);
  load().catch((error) => failed(String(error)));
  return {
    element: h('section', { class: 'stack' }, chart.element, empty, table),
    /** @param {any} test one that has ended, with its result */
    async add(test) {
      const id = idOf(test);
      picked.add(id);
      await keepResult({ ...test, test: test.id, id }).then(load, (error) => failed(String(error)));
    },
  };
}
