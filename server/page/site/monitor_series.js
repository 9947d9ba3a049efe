/** What the monitor draws, out of the readings that it has kept. */
import { t } from './i18n.js';
import { find, mean, quantile, rate, sum, valuesOf } from './metrics.js';

/** @typedef {import('./metrics.js').Reading} Reading */
/** @typedef {import('./chart.js').Series} Series */

/** Codes by their class keep their colours. @type {Record<string, number>} */
const CODE_COLOURS = { 2: 2, 3: 4, 4: 1, 5: 3 };
const STAGES = ['queue', 'preprocess', 'inference'];
const QUANTILES = { p50: 0.5, p95: 0.95, p99: 0.99 };
/** Readings that a quantile is computed over, so that a quiet server's are not of single requests. */
const WINDOW = 5;

/**
 * A value for each reading but the first, from it and the one before.
 * @param {Reading[]} readings @param {(a: Reading, b: Reading) => number | null} value
 */
const steps = (readings, value) => readings.slice(1).map((b, i) => value(readings[i], b));

/** The same, over a window. @param {Reading[]} readings @param {(a: Reading, b: Reading) => number | null} value */
const windows = (readings, value) => readings.slice(1).map((b, i) => value(readings[Math.max(0, i + 1 - WINDOW)], b));

/** @param {Reading[]} readings @returns {Series[]} */
export function requests(readings) {
  const codes = valuesOf(/** @type {Reading} */ (readings.at(-1)), 'limoe_requests_total', 'code').sort();
  /** @type {Record<string, number>} */
  const used = {};
  return codes.map((code) => {
    const kind = code[0];
    used[kind] = (used[kind] ?? -4) + 4;
    return { name: code, colour: (CODE_COLOURS[kind] ?? 0) + used[kind], values: steps(readings, (a, b) => rate(a, b, 'limoe_requests_total', { code })) };
  });
}

/** @param {Reading[]} readings @param {string} model @returns {Series[]} */
export function latency(readings, model) {
  return STAGES.flatMap((stage, s) => Object.entries(QUANTILES).filter(([q]) => q !== 'p99' || stage !== 'preprocess').map(([q, share], i) => ({
    name: t('monitor.quantile', { stage: t(`monitor.stage.${stage}`), q }),
    colour: s + 4 * i,
    values: windows(readings, (a, b) => {
      const seconds = quantile(a, b, 'limoe_stage_duration_seconds', { model, stage }, share);
      return seconds === null ? null : seconds * 1000;
    }),
  })));
}

/** @param {Reading[]} readings @param {string} model @returns {Series[]} */
export const queue = (readings, model) => [
  { name: t('monitor.depth'), colour: 2, values: readings.slice(1).map((reading) => sum(reading, 'limoe_queue_depth', { model })) },
];

/** @param {Reading[]} readings @param {string} model @returns {Series[]} */
export const stepSize = (readings, model) => [
  { name: t('monitor.items'), colour: 2, values: windows(readings, (a, b) => mean(a, b, 'limoe_step_items', { model })) },
  { name: t('monitor.tokens'), colour: 1, values: windows(readings, (a, b) => mean(a, b, 'limoe_step_tokens', { model })) },
];

/**
 * Each layer's shares by expert, which sum to 1, of what was routed between two readings or, without the first, ever.
 * @param {Reading | null} a @param {Reading} b @param {string} model @param {string} modality
 * @returns {{layer: string, shares: number[], total: number}[]}
 */
export function experts(a, b, model, modality) {
  const name = 'limoe_expert_tokens_total';
  const layers = valuesOf(b, name, 'layer', { model }).sort((one, other) => Number(one) - Number(other));
  return layers.map((layer) => {
    const labels = { model, modality, layer };
    const counts = find(b, name, labels).sort((one, other) => Number(one.labels.expert) - Number(other.labels.expert))
      .map((sample) => sample.value - (a ? sum(a, name, sample.labels) : 0));
    const total = counts.reduce((all, count) => all + count, 0);
    return { layer, total, shares: counts.map((count) => (total > 0 ? count / total : 0)) };
  });
}
