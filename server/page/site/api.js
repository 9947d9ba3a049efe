/** The server's API: requests with the key, errors as the server words them, patience where it has too much to do. */
import { t } from './i18n.js';
import { session } from './kept.js';

/** Where the API begins: beside the page, also behind a proxy that puts both below a path. */
export const BASE = new URL('.', document.baseURI);
const KEY = 'limoe-key';
const MOST_TRIES = 10;
const LONGEST_PAUSE = 20000; // ms

export class ApiError extends Error {
  /** @param {number} status @param {{message?: string, code?: string, param?: string}} error @param {number} retryAfter s */
  constructor(status, error, retryAfter) {
    super(error.message || t('error.status', { status }));
    this.status = status;
    this.code = error.code || '';
    this.param = error.param || '';
    this.retryAfter = retryAfter;
  }
}

export const key = () => session.get(KEY);

/** @param {string} value '' forgets it */
export const setKey = (value) => session.set(KEY, value);

/** @param {Response} answer */
async function errorOf(answer) {
  const body = await answer.json().catch(() => ({}));
  const error = new ApiError(answer.status, body.error || {}, Number(answer.headers.get('Retry-After')) || 0);
  if (answer.status === 401) document.dispatchEvent(new CustomEvent('key-wanted', { detail: error.message }));
  return error;
}

/**
 * @typedef {object} Asked
 * @property {string} [method]
 * @property {unknown} [json] the body as JSON
 * @property {FormData} [form] the body as a form
 * @property {AbortSignal} [signal]
 */

/** @param {string} path below the page's folder @param {Asked} [asked] @returns {Promise<Response>} */
export async function ask(path, { method, json, form, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (key()) headers.Authorization = `Bearer ${key()}`;
  if (json !== undefined) headers['Content-Type'] = 'application/json';
  const body = json !== undefined ? JSON.stringify(json) : form;
  const answer = await fetch(new URL(path, BASE), { method: method || (body ? 'POST' : 'GET'), headers, body, signal }).catch((error) => {
    throw error.name === 'AbortError' ? error : new ApiError(0, { message: t('error.unreachable') }, 0);
  });
  if (!answer.ok) throw await errorOf(answer);
  return answer;
}

/** @param {string} path @param {Asked} [asked] @returns {Promise<any>} */
export const askJson = async (path, asked) => (await ask(path, asked)).json();

/** @param {number} ms @param {AbortSignal} [signal] */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms, undefined);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new DOMException('aborted', 'AbortError'));
    }, { once: true });
  });
}

/**
 * Tries again while the server says that it is busy (429, 503): after Retry-After, or after pauses that double; with some
 * chance in them, so that several do not come back at once.
 * @template T
 * @param {() => Promise<T>} attempt
 * @param {AbortSignal} [signal]
 * @param {(seconds: number) => void} [waiting]
 * @returns {Promise<T>}
 */
export async function patiently(attempt, signal, waiting) {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      const busy = error instanceof ApiError && (error.status === 429 || error.status === 503);
      if (!busy || tries >= MOST_TRIES) throw error;
      const ms = Math.min(LONGEST_PAUSE, Math.max(error.retryAfter * 1000, 200 * 2 ** tries)) * (0.75 + Math.random() / 2);
      waiting?.(ms / 1000);
      await pause(ms, signal);
    }
  }
}

/** Base64 of a file's bytes. @param {Blob} blob @returns {Promise<string>} */
export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ''));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Little-endian float32, as encoding_format "base64" has them. @param {string} text */
export function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
