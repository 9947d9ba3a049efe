/** Elements in a line each. Nothing here reads markup from a string. */
import { tell } from './i18n.js';

const SVG = 'http://www.w3.org/2000/svg';
/** Properties whose value is a key of words, and the attribute that they set. */
const WORDS = { label: 'aria-label', hint: 'placeholder', tip: 'title', alternative: 'alt' };

/**
 * An element. `text`, `label`, `hint`, `tip`, `alternative` are keys of words; `on` has listeners; the rest are attributes.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || (value === false && !name.startsWith('aria-'))) continue;
    if (name === 'text') tell(element, 'text', value, properties.args);
    else if (name in WORDS) tell(element, WORDS[/** @type {keyof typeof WORDS} */ (name)], value, properties.args);
    else if (name === 'on') Object.entries(value).forEach(([event, call]) => element.addEventListener(event, /** @type {any} */ (call)));
    else if (name !== 'args') element.setAttribute(name, value === true && !name.startsWith('aria-') ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => child ?? ''));
  return element;
}

/** An element of SVG. @param {string} tag @param {Record<string, any>} [attributes] @param {...Node} children */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

let ids = 0;
/** An id that no other element has. @param {string} stem */
export const uid = (stem) => `${stem}-${++ids}`;

/**
 * A control with its label above it, and a line of help below.
 * @param {string} key of the label's words @param {HTMLElement} control @param {string} [help] a key
 */
export function field(key, control, help) {
  control.id ||= uid('field');
  const below = help ? h('p', { class: 'help', id: uid('help'), text: help }) : null;
  if (below) control.setAttribute('aria-describedby', below.id);
  return h('div', { class: 'field' }, h('label', { for: control.id, text: key }), control, below);
}

/** @param {string} key @param {() => void} click @param {Record<string, any>} [properties] */
export const button = (key, click, properties = {}) => h('button', { type: 'button', text: key, on: { click }, ...properties });

/** What is written in lines, without those that are blank. @param {string} text @returns {string[]} */
export const lines = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);

/** Says something to who does not see it. @param {string} text */
export function say(text) {
  const said = document.getElementById('said');
  if (said) said.textContent = text;
}

/** Runs after the calls have paused. @param {() => void} call @param {number} ms */
export function debounce(call, ms) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, ms);
  };
}
