/** The models that the server has, and the one that the reader has chosen. */
import { ApiError, askJson } from './api.js';
import { h } from './dom.js';
import { onKey } from './key.js';

/** @typedef {{id: string, fingerprint: string, capabilities: string[], embed: number, moe?: object, scores: string | null}} Model */

const AGAIN = 2000; // ms, while the server starts

/** @type {Model[]} */
let models = [];
let chosen = '';
/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {any} */
let select;
/** Why there are no models, in the server's words; '': there are. */
let reason = '';

/** @param {string} id */
function choose(id) {
  chosen = id;
  listeners.forEach((listener) => listener());
}

/** Calls when another model is chosen, or the models are known. @param {() => void} listener */
export const onModel = (listener) => listeners.add(listener);
/** The chosen model; undefined: none are known. */
export const model = () => models.find(({ id }) => id === chosen);
export const whyNoModel = () => reason;
/** @param {string} what of the model's capabilities */
export const can = (what) => Boolean(model()?.capabilities.includes(what));

export async function loadModels() {
  try {
    models = (await askJson('v1/models')).data;
    reason = '';
  } catch (error) {
    models = [];
    reason = /** @type {Error} */ (error).message;
    if (error instanceof ApiError && error.status === 503) setTimeout(loadModels, AGAIN);
  }
  select.replaceChildren(...models.map(({ id }) => h('option', { value: id }, id)));
  select.hidden = models.length === 0;
  if (!model()) chosen = models[0]?.id || '';
  select.value = chosen;
  choose(chosen);
}

export function modelSelect() {
  select = h('select', { label: 'settings.model', hidden: true, on: { change: () => choose(select.value) } });
  onKey(loadModels);
  return select;
}
