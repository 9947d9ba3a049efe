/** Load test: started, watched and stopped by /v1/loadtests; what it found is kept in the browser. */
import { askJson, key, pause } from './api.js';
import { lineChart } from './chart.js';
import { button, field, h } from './dom.js';
import { number, onLanguage, t, tell } from './i18n.js';
import { onKey } from './key.js';
import { model } from './models.js';
import { distribution } from './loadtest_bars.js';
import { resultsView } from './loadtest_results.js';

const ROUTE = 'v1/loadtests';
const EVERY = 500; // ms
const KINDS = { classify: 1, image: 1, text: 2 };
const STAGES = ['queue', 'inference', 'total'];

/** What the form says, as the API takes it. */
function form() {
  /** @param {Record<string, any>} properties */
  const amount = (properties) => h('input', { type: 'number', required: true, ...properties });
  const rate = amount({ min: 0.1, step: 'any', value: 20 });
  const duration = amount({ min: 1, step: 'any', value: 20 });
  const arrivals = h('select', {}, ...['poisson', 'constant'].map((kind) => h('option', { value: kind, text: `loadtest.arrivals.${kind}` })));
  const target = h('input', { type: 'text', inputmode: 'url', autocomplete: 'off', spellcheck: 'false' });
  const parts = Object.entries(KINDS).map(([kind, n]) => ({ kind, input: amount({ min: 0, max: 1000000, step: 1, value: n }) }));
  const mix = h('fieldset', {}, h('legend', { text: 'loadtest.mix' }), h('div', { class: 'row' }, ...parts.map(({ kind, input }) => field(`loadtest.mix.${kind}`, input))));
  return {
    elements: [h('div', { class: 'row' }, field('loadtest.rate', rate), field('loadtest.duration', duration), field('loadtest.arrivals', arrivals)), mix,
      field('loadtest.target', target, 'loadtest.target.help')],
    asked() {
      const where = target.value.trim();
      const here = where ? {} : { model: model()?.id };
      return { rate: Number(rate.value), duration: Number(duration.value), arrivals: arrivals.value,
        mix: Object.fromEntries(parts.map(({ kind, input }) => [kind, Number(input.value)])), ...(where ? { target: where } : here) };
    },
  };
}

const isOver = (/** @type {{ended: number | null}} */ test) => test.ended !== null;

/** The running test: a line of progress, and charts. */
function liveView() {
  const bar = h('progress', { max: 1, label: 'loadtest.progress' });
  const line = h('p', { class: 'numbers', role: 'status' });
  const figures = h('dl', { class: 'tiles' });
  const stages = lineChart('loadtest.stages');
  const spread = distribution();
  const element = h('section', { class: 'stack', hidden: true }, h('div', { class: 'card stack' }, bar, line), figures, h('div', { class: 'charts' }, spread.element, stages.element));
  /** @type {{at: number, server: Record<string, {p50: number | null, p99: number | null}>}[]} */
  let readings = [];
  let shown = '';

  /** @param {any} test */
  function chart(test) {
    const { progress } = test;
    if (progress && progress.seconds !== readings.at(-1)?.at) readings.push({ at: progress.seconds, server: progress.server_ms });
    stages.show(STAGES.flatMap((stage, i) => ['p50', 'p99'].map((q, k) => ({ name: t('monitor.quantile', { stage: t(`loadtest.stage.${stage}`), q }), colour: i + 4 * k,
      values: readings.map(({ server }) => /** @type {any} */ (server?.[stage])?.[q] ?? null) }))), ['0 s', `${Math.round(readings.at(-1)?.at ?? 0)} s`]);
  }

  return {
    element,
    /** @param {any} test */
    show(test) {
      if (shown !== test.id) { readings = []; shown = test.id; }
      element.hidden = false;
      const so = test.result || test.progress?.all;
      const total = test.request.duration;
      const done = Math.min(total, test.result?.seconds ?? (test.progress?.fraction ?? 0) * total);
      bar.value = isOver(test) ? 1 : done / total;
      tell(line, 'text', 'loadtest.state', { state: t(`loadtest.state.${test.state}`), done: number(done, { maximumFractionDigits: 1 }), total: number(total) });
      if (test.reason) line.append(` — ${test.reason}`);
      chart(test);
      if (!so) return;
      figures.replaceChildren(...[['sent', so.sent], ['good', so.ok], ['refused', so.refused], ['bad', so.failed + so.dropped]].map(([name, n]) =>
        h('div', { class: 'tile' }, h('dt', { text: `loadtest.${name}` }), h('dd', {}, number(n)))));
      spread.show(so.latency_counts, so.latency_ms);
    },
  };
}

/** @param {HTMLElement} panel */
export function view(panel) {
  /** @type {any} */
  let test = null;
  let watching = false;
  const why = h('p', { class: 'error', role: 'alert' });
  const hint = h('p', { class: 'help', text: 'loadtest.key' });
  const asking = form();
  const start = h('button', { type: 'submit', class: 'primary', text: 'loadtest.start' });
  const stop = button('loadtest.stop', () => trying(async () => { show(await askJson(`${ROUTE}/${test.id}`, { method: 'DELETE' })); }), { disabled: true });
  const live = liveView();
  const results = resultsView((error) => { why.textContent = error; });

  /** @param {() => Promise<void>} act */
  async function trying(act) {
    why.textContent = '';
    await act().catch((error) => { why.textContent = error.message; });
  }

  /** @param {any} now */
  function show(now) {
    test = now;
    const running = test && !isOver(test);
    start.disabled = running;
    stop.disabled = !running || test.state === 'stopping';
    if (test) live.show(test);
  }

  async function watch() {
    if (watching) return;
    watching = true;
    try {
      while (!isOver(test)) {
        await pause(EVERY);
        show(await askJson(`${ROUTE}/${test.id}`));
      }
      if (test.result) await results.add(test);
    } finally {
      watching = false;
      if (!isOver(test)) { start.disabled = false; stop.disabled = true; }
    }
  }

  /** One that runs already, perhaps started elsewhere. Without a key there is none to be seen. */
  const look = () => trying(async () => {
    hint.hidden = key() !== '';
    if (!key()) return;
    const { data } = await askJson(ROUTE);
    const running = data.find((/** @type {any} */ one) => !isOver(one));
    if (running && !watching) { show(running); await watch(); }
  });

  /** @param {Event} event */
  function begin(event) {
    event.preventDefault();
    trying(async () => {
      show(await askJson(ROUTE, { json: asking.asked() }));
      await watch();
    });
  }

  onLanguage(() => test && live.show(test));
  onKey(look);
  panel.append(h('div', { class: 'stack' }, h('h2', { class: 'hidden', text: 'tab.load-test' }),
    h('form', { class: 'card stack', on: { submit: begin } }, ...asking.elements, h('div', { class: 'row end' }, hint, stop, start)), why, live.element, results.element));
  return { shown: look };
}
