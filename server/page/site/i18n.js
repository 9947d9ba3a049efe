/**
 * Words: one language in force at a time, of a file each. Elements keep the keys of their words, so that another language
 * takes their place at once (dom.js).
 */
import { always } from './kept.js';

const LANGUAGE = 'limoe-language';
/** Names of the languages, each in itself. */
export const LANGUAGES = { en: 'English', ja: '日本語' };

/** @type {Record<string, string>} */
let words = {};
let current = 'en';
/** @type {Set<() => void>} */
const listeners = new Set();

/** The language that was chosen, or the browser's first that there is. */
function preferred() {
  const known = [always.get(LANGUAGE), ...navigator.languages].map((tag) => tag.slice(0, 2));
  return known.find((tag) => tag in LANGUAGES) || 'en';
}

/** @param {string} [language] */
export async function useLanguage(language = preferred()) {
  const answer = await fetch(new URL(`page/${language}.json`, document.baseURI));
  words = await answer.json();
  current = language;
  document.documentElement.lang = language;
  document.querySelectorAll('[data-words]').forEach((element) => retell(/** @type {HTMLElement} */ (element)));
  listeners.forEach((listener) => listener());
}

/** @param {string} language */
export function chooseLanguage(language) {
  always.set(LANGUAGE, language);
  return useLanguage(language);
}

export const language = () => current;

/** Calls when the language has changed. @param {() => void} listener */
export function onLanguage(listener) {
  listeners.add(listener);
}

/**
 * The words of a key, with {name} replaced by args.name.
 * @param {string} key
 * @param {Record<string, string | number>} [args]
 */
export function t(key, args = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(args[name] ?? whole));
}

/** A number as the language writes it. @param {number} value @param {Intl.NumberFormatOptions} [options] */
export const number = (value, options) => new Intl.NumberFormat(current, options).format(value);

/** @param {number} share of 1 */
export const percent = (share) => number(share, { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });

/**
 * Gives an element the words of a key: as its text, or as an attribute.
 * @param {HTMLElement} element @param {string} where 'text' or an attribute's name
 * @param {string} key @param {Record<string, string | number>} [args]
 */
export function tell(element, where, key, args) {
  const told = JSON.parse(element.dataset.words || '{}');
  told[where] = [key, args];
  element.dataset.words = JSON.stringify(told);
  retell(element);
}

/** @param {HTMLElement} element */
function retell(element) {
  for (const [where, [key, args]] of Object.entries(JSON.parse(element.dataset.words || '{}'))) {
    if (where === 'text') element.textContent = t(key, args || {});
    else element.setAttribute(where, t(key, args || {}));
  }
}
