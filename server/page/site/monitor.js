/** Monitor: what the server does, live from /metrics and /health. */
import { BASE } from './api.js';
import { lineChart, short } from './chart.js';
import { button, field, h } from './dom.js';
import { number, onLanguage, percent, t, tell } from './i18n.js';
import { find, rate, read, sum, valuesOf } from './metrics.js';
import { experts, latency, queue, requests, stepSize } from './monitor_series.js';

const EVERY = 2000; // ms
const KEPT = 150; // readings: 5 minutes

/** @typedef {import('./metrics.js').Reading} Reading */

async function health() {
  try {
    const { status, reason = '' } = await (await fetch(new URL('health', BASE))).json();
    return { status, reason };
  } catch (error) {
    return { status: 'unreachable', reason: String(error) };
  }
}

/** @param {number} seconds */
function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? t('monitor.minutes', { m: minutes, s: Math.floor(seconds % 60) }) : t('monitor.hours', { h: Math.floor(minutes / 60), m: minutes % 60 });
}

/** @param {Reading} a @param {Reading} b @param {{status: string, reason: string}} now */
function tilesOf(a, b, now) {
  const all = rate(a, b, 'limoe_requests_total');
  const failed = valuesOf(b, 'limoe_requests_total', 'code').filter((code) => code[0] === '5')
    .reduce((total, code) => total + rate(a, b, 'limoe_requests_total', { code }), 0);
  return [
    ['monitor.status', t(`status.${now.status}`), now.status !== 'ok', now.reason],
    ['monitor.rate', short(all)],
    ['monitor.errors', percent(all > 0 ? failed / all : 0), failed > 0],
    ['monitor.inflight', number(sum(b, 'limoe_requests_in_flight'))],
    ['monitor.connections', number(sum(b, 'limoe_connections'))],
    ['monitor.memory', `${short(sum(b, 'limoe_process_resident_memory_bytes') / 1e6)} MB`],
    ['monitor.cpu', percent(rate(a, b, 'limoe_process_cpu_seconds_total'))],
    ['monitor.refused', number(sum(b, 'limoe_requests_refused_total'))],
    ['monitor.decoders', number(sum(b, 'limoe_decoder_restarts_total'))],
    ['monitor.uptime', span(Date.now() / 1000 - sum(b, 'process_start_time_seconds'))],
  ];
}

/** @param {Reading} a @param {Reading} b @param {{status: string, reason: string}} now */
function tiles(a, b, now) {
  return tilesOf(a, b, now).map(([key, value, bad, why]) =>
    h('div', { class: 'tile' }, h('dt', { text: key }), h('dd', { class: bad ? 'bad' : '' }, String(value)), why && h('dd', { class: 'help' }, String(why))));
}

const COLUMNS = ['model', 'ready', 'dtype', 'backend', 'restarts', 'replayed', 'reloads', 'fingerprint'];

/** @param {Reading} b */
function modelTable(b) {
  const rows = find(b, 'limoe_model_info').map(({ labels }) => {
    const { model } = labels;
    const cells = [model, t(sum(b, 'limoe_ready', { model }) ? 'monitor.yes' : 'monitor.no'), labels.dtype, labels.backend,
      number(sum(b, 'limoe_engine_restarts_total', { model })), number(sum(b, 'limoe_steps_replayed_total', { model })),
      number(sum(b, 'limoe_model_reloads_total', { model })), labels.fingerprint.slice(0, 12)];
    return h('tr', {}, ...cells.map((cell, i) => h(i ? 'td' : 'th', i ? {} : { scope: 'row' }, cell)));
  });
  return h('table', {}, h('caption', { text: 'monitor.models' }),
    h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', { scope: 'col', text: `monitor.${name}` })))), h('tbody', {}, ...rows));
}

/** @param {{layer: string, shares: number[]}[]} layers @param {string} model */
function heatMap(layers, model) {
  const most = Math.max(...layers.flatMap(({ shares }) => shares), 1e-9);
  const head = h('tr', {}, h('th', { scope: 'col', text: 'monitor.layers' }), ...(layers[0]?.shares || []).map((_, expert) => h('th', { scope: 'col' }, String(expert))));
  const rows = layers.map(({ layer, shares }) => h('tr', {}, h('th', { scope: 'row' }, layer), ...shares.map((share) => {
    const cell = h('td', {}, number(share, { style: 'percent' }));
    cell.style.setProperty('--heat', String((share / most) * 0.75));
    return cell;
  })));
  const caption = h('caption', {});
  tell(caption, 'text', 'monitor.experts', { model });
  return h('div', { class: 'wide', tabindex: '0', role: 'region', label: 'monitor.experts', args: { model } },
    h('table', { class: 'heat' }, caption, h('thead', {}, head), h('tbody', {}, ...rows)));
}

/** A model's charts. @param {string} model */
function modelCharts(model) {
  const charts = [lineChart('monitor.latency.model', { model }), lineChart('monitor.queue', { model }), lineChart('monitor.step', { model })];
  const series = [latency, queue, stepSize];
  return {
    elements: charts.map(({ element }) => element),
    /** @param {Reading[]} readings @param {[string, string]} ends */
    show: (readings, ends) => charts.forEach((chart, i) => chart.show(series[i](readings, model), ends)),
  };
}

/** @param {string} key @param {string} stem @param {string[]} values @param {() => void} change */
function choice(key, stem, values, change) {
  const select = h('select', { on: { change } }, ...values.map((value) => h('option', { value, text: `${stem}.${value}` })));
  return { select, element: field(key, select) };
}

/** @param {HTMLElement} panel */
export function view(panel) {
  /** @type {Reading[]} */
  let readings = [];
  /** @type {{status: string, reason: string}} */
  let now = { status: 'starting', reason: '' };
  let timer = 0;
  let paused = false;
  /** @type {Map<string, ReturnType<typeof modelCharts>>} */
  const byModel = new Map();
  const waiting = h('p', { class: 'help', text: 'monitor.waiting' });
  const why = h('p', { class: 'error', role: 'alert' });
  const top = h('dl', { class: 'tiles' });
  const overall = lineChart('monitor.requests');
  const charts = h('div', { class: 'charts' }, overall.element);
  const heat = h('div', { class: 'stack' });
  const table = h('div', { class: 'card wide', tabindex: '0', role: 'region', label: 'monitor.models' });
  const modality = choice('monitor.modality', 'monitor.modality', ['image', 'text'], () => draw());
  const since = choice('monitor.since', 'monitor.since', ['start', 'window'], () => draw());
  const stop = button('monitor.pause', () => { paused = !paused; tell(stop, 'text', paused ? 'monitor.go' : 'monitor.pause'); if (!paused) look(); });

  function drawHeat() {
    const first = since.select.value === 'window' ? readings[0] : null;
    const last = /** @type {Reading} */ (readings.at(-1));
    const maps = [...byModel.keys()].map((name) => ({ name, layers: experts(first, last, name, modality.select.value) })).filter(({ layers }) => layers.length);
    heat.replaceChildren(...maps.map(({ name, layers }) => heatMap(layers, name)));
    heat.parentElement?.toggleAttribute('hidden', maps.length === 0);
  }

  function draw() {
    const last = readings.at(-1);
    const before = readings.at(-2);
    if (!last || !before) return;
    waiting.hidden = true;
    for (const name of valuesOf(last, 'limoe_model_info', 'model')) {
      if (byModel.has(name)) continue;
      byModel.set(name, modelCharts(name));
      charts.append(.../** @type {any} */ (byModel.get(name)).elements);
    }
    /** @type {[string, string]} */
    const ends = [`−${Math.round((last.at - readings[0].at) / 1000)} s`, '0 s'];
    top.replaceChildren(...tiles(before, last, now));
    overall.show(requests(readings), ends);
    byModel.forEach((one) => one.show(readings, ends));
    drawHeat();
    table.replaceChildren(modelTable(last));
  }

  async function look() {
    clearTimeout(timer);
    try {
      const [reading, condition] = await Promise.all([read(), health()]);
      now = condition;
      readings = [...readings, reading].slice(-KEPT);
      why.textContent = '';
      draw();
    } catch (error) {
      why.textContent = /** @type {Error} */ (error).message;
    }
    if (!paused && !panel.hidden) timer = setTimeout(look, EVERY);
  }

  onLanguage(draw);
  panel.append(h('div', { class: 'stack' }, h('h2', { class: 'hidden', text: 'tab.monitor' }),
    h('div', { class: 'row middle' }, h('p', { class: 'help grow', text: 'monitor.live' }), stop), why, waiting, top, charts,
    h('section', { class: 'card stack' }, h('div', { class: 'row' }, modality.element, since.element), heat), table));
  return { shown: () => { if (!paused) look(); }, left: () => clearTimeout(timer) };
}
