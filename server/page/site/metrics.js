/** Prometheus' text format, and what is computed from two readings of it. */
import { ask } from './api.js';

/** @typedef {{labels: Record<string, string>, value: number}} Sample */
/** @typedef {{at: number, samples: Map<string, Sample[]>}} Reading at: in ms */
/** @typedef {Record<string, string>} Labels */

const LABEL = /(\w+)="((?:\\.|[^"\\])*)"/g;

/** @param {string} text @returns {Map<string, Sample[]>} */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split('\n')) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) continue;
    const [, name, inside = '', value] = found;
    /** @type {Labels} */
    const labels = {};
    for (const [, label, said] of inside.matchAll(LABEL)) labels[label] = said.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({ labels, value: Number(value.replace('Inf', 'Infinity')) });
  }
  return samples;
}

/** @param {AbortSignal} [signal] @returns {Promise<Reading>} */
export async function read(signal) {
  const text = await (await ask('metrics', { signal })).text();
  return { at: performance.now(), samples: parse(text) };
}

/** Samples that have these labels, with these values. @param {Reading} reading @param {string} name @param {Labels} [labels] */
export function find(reading, name, labels = {}) {
  const wanted = Object.entries(labels);
  return (reading.samples.get(name) || []).filter((sample) => wanted.every(([label, value]) => sample.labels[label] === value));
}

/** @param {Reading} reading @param {string} name @param {Labels} [labels] */
export const sum = (reading, name, labels) => find(reading, name, labels).reduce((total, { value }) => total + value, 0);

/** The values that a label has. @param {Reading} reading @param {string} name @param {string} label @param {Labels} [labels] */
export const valuesOf = (reading, name, label, labels) =>
  [...new Set(find(reading, name, labels).map((sample) => sample.labels[label]).filter((value) => value !== undefined))];

/** What a counter grew by in a second; 0 where it began anew. @param {Reading} a @param {Reading} b @param {string} name @param {Labels} [labels] */
export const rate = (a, b, name, labels) => Math.max(0, (sum(b, name, labels) - sum(a, name, labels)) / ((b.at - a.at) / 1000));

/**
 * A histogram's quantile between two readings, linear within a bucket as Prometheus' histogram_quantile; null: nothing was
 * counted.
 * @param {Reading} a @param {Reading} b @param {string} name @param {Labels} labels @param {number} q
 */
export function quantile(a, b, name, labels, q) {
  const bounds = valuesOf(b, `${name}_bucket`, 'le', labels);
  const buckets = bounds.map((le) => ({
    bound: Number(le.replace('+Inf', 'Infinity')),
    count: sum(b, `${name}_bucket`, { ...labels, le }) - sum(a, `${name}_bucket`, { ...labels, le }),
  })).sort((one, other) => one.bound - other.bound);
  const all = buckets.at(-1)?.count || 0;
  if (all <= 0) return null;
  const at = buckets.findIndex(({ count }) => count >= q * all);
  const below = at > 0 ? buckets[at - 1] : { bound: 0, count: 0 };
  const here = buckets[at];
  if (!Number.isFinite(here.bound)) return below.bound;
  return below.bound + (here.bound - below.bound) * ((q * all - below.count) / Math.max(1, here.count - below.count));
}

/** A histogram's mean between two readings; null: nothing was counted. @param {Reading} a @param {Reading} b @param {string} name @param {Labels} labels */
export function mean(a, b, name, labels) {
  const count = sum(b, `${name}_count`, labels) - sum(a, `${name}_count`, labels);
  return count > 0 ? (sum(b, `${name}_sum`, labels) - sum(a, `${name}_sum`, labels)) / count : null;
}
