/** What /v1/routing says of a picture and a text, in the shape that is drawn. */
import { askJson, base64, patiently } from './api.js';

/**
 * @typedef {{expert: number, gate: number}[]} Taken the experts that took a token, by descending gate
 * @typedef {object} Routed
 * @property {number[]} blocks those with experts, ascending
 * @property {number} experts
 * @property {{rows: number, columns: number, byBlock: Map<number, {patches: Taken[], classToken: Taken | null}>}} picture
 * @property {{ids: number[], byBlock: Map<number, Taken[]>}} text
 */

/** @param {{experts: number[][], gates: number[][]}} layer @returns {Taken[]} */
const takenOf = ({ experts, gates }) => experts.map((row, token) => row.map((expert, k) => ({ expert, gate: gates[token][k] })));

/** @param {any} item */
function pictureOf({ grid, layers, class_token: hasClass }) {
  const byBlock = new Map(layers.map((/** @type {any} */ layer) => {
    const taken = takenOf(layer);
    return [layer.block, { classToken: hasClass ? taken[0] : null, patches: hasClass ? taken.slice(1) : taken }];
  }));
  return { rows: grid.rows, columns: grid.columns, byBlock };
}

/**
 * @param {Blob} picture @param {string} text '' for none @param {string} model @param {AbortSignal} signal
 * @returns {Promise<Routed>}
 */
export async function routing(picture, text, model, signal) {
  const input = [{ image: await base64(picture) }, ...(text ? [{ text }] : [])];
  const { data, experts } = await patiently(() => askJson('v1/routing', { json: { input, model }, signal }), signal);
  const [image, words = { token_ids: [], layers: [] }] = data;
  const blocks = [...new Set([...image.layers, ...words.layers].map(({ block }) => block))].sort((a, b) => a - b);
  return {
    blocks,
    experts,
    picture: pictureOf(image),
    text: { ids: words.token_ids, byBlock: new Map(words.layers.map((/** @type {any} */ layer) => [layer.block, takenOf(layer)])) },
  };
}

/** How many tokens have each expert first. @param {Taken[]} taken @param {number} experts */
export function counts(taken, experts) {
  const out = new Array(experts).fill(0);
  for (const [first] of taken) if (first) out[first.expert]++;
  return out;
}
