/** Pictures to vectors: in batches, two at a time, with patience; one that cannot be read costs nobody else. */
import { ApiError, askJson, base64, floats, patiently } from './api.js';
import { pool } from './pool.js';

const BATCH = 16; // pictures
const BATCH_BYTES = 6 * 2 ** 20;
const AT_ONCE = 2;
const THUMB = 192; // pixels a side

/** @typedef {import('./files.js').Source} Source */
/** @typedef {{source: Source, blob: Blob}} Opened */
/**
 * @typedef {object} Reports
 * @property {(pictures: {source: Source, vector: Float32Array, thumb: Blob | null}[]) => Promise<unknown>} keep
 * @property {(source: Source, why: string) => void} failed
 * @property {(seconds: number) => void} waiting
 */

/** @param {Source[]} sources @returns {Generator<Source[]>} */
export function* batches(sources) {
  let batch = /** @type {Source[]} */ ([]);
  let bytes = 0;
  for (const source of sources) {
    if (batch.length === BATCH || (batch.length > 0 && bytes + source.size > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(source);
    bytes += source.size;
  }
  if (batch.length) yield batch;
}

/** @param {({text: string} | {image: string})[]} input @param {string} model @param {AbortSignal} [signal] @param {(s: number) => void} [waiting] */
export async function embed(input, model, signal, waiting) {
  const { data } = await patiently(() => askJson('v1/embeddings', { json: { input, model, encoding_format: 'base64' }, signal }), signal, waiting);
  return /** @type {Float32Array[]} */ (data.map((/** @type {{embedding: string}} */ { embedding }) => floats(embedding)));
}

/** A small picture to show, or null where the browser does not know the format. @param {Blob} blob @returns {Promise<Blob | null>} */
export async function thumbOf(blob) {
  try {
    const whole = await createImageBitmap(blob);
    const scale = Math.min(1, THUMB / Math.max(whole.width, whole.height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(whole.width * scale)), Math.max(1, Math.round(whole.height * scale)));
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.imageSmoothingQuality = 'high';
    context.drawImage(whole, 0, 0, canvas.width, canvas.height);
    whole.close();
    return await canvas.convertToBlob({ type: 'image/webp', quality: 0.8 });
  } catch {
    return null;
  }
}

/** Which picture of the batch an error is about; -1: it does not say. @param {ApiError} error */
const culprit = (error) => Number(/^input\[(\d+)\]/.exec(error.param)?.[1] ?? -1);
/** Whether an error is about what was sent, not about who sent it or the server. @param {unknown} error */
const isAboutInput = (error) => error instanceof ApiError && (error.status === 400 || error.status === 413);

/**
 * @param {Opened[]} opened @param {string} model @param {AbortSignal} signal @param {Reports} reports
 * @returns {Promise<void>}
 */
async function embedBatch(opened, model, signal, reports) {
  if (!opened.length) return;
  try {
    const input = await Promise.all(opened.map(async ({ blob }) => ({ image: await base64(blob) })));
    const [vectors, thumbs] = await Promise.all([embed(input, model, signal, reports.waiting), Promise.all(opened.map(({ blob }) => thumbOf(blob)))]);
    await reports.keep(opened.map(({ source }, i) => ({ source, vector: vectors[i], thumb: thumbs[i] })));
  } catch (error) {
    if (!isAboutInput(error)) throw error;
    const bad = opened.length === 1 ? 0 : culprit(/** @type {ApiError} */ (error));
    if (bad in opened) {
      reports.failed(opened[bad].source, /** @type {Error} */ (error).message.replace(/^input\[\d+\](\.image)?: /, ''));
      await embedBatch(opened.toSpliced(bad, 1), model, signal, reports);
      return;
    }
    const half = opened.length >> 1;
    await embedBatch(opened.slice(0, half), model, signal, reports);
    await embedBatch(opened.slice(half), model, signal, reports);
  }
}

/** @param {Source[]} sources @param {Reports} reports @returns {Promise<Opened[]>} */
async function openAll(sources, reports) {
  const opened = await Promise.all(sources.map(async (source) => {
    try {
      return { source, blob: await source.open() };
    } catch (error) {
      reports.failed(source, /** @type {Error} */ (error).message);
      return null;
    }
  }));
  return opened.filter((one) => one !== null);
}

/** @param {Source[]} sources @param {string} model @param {AbortSignal} signal @param {Reports} reports */
export function embedAll(sources, model, signal, reports) {
  return pool(batches(sources), AT_ONCE, async (batch) => {
    signal.throwIfAborted();
    await embedBatch(await openAll(batch, reports), model, signal, reports);
  });
}
