/** The key, asked for where the server wants one and kept until the browser's tab is closed. */
import { key, setKey } from './api.js';
import { button, field, h } from './dom.js';

/** @type {Set<() => void>} */
const listeners = new Set();
/** Calls when the key has changed. @param {() => void} listener */
export const onKey = (listener) => listeners.add(listener);

/** @type {{dialog: any, input: any, why: HTMLElement} | undefined} */
let parts;

function make() {
  const why = h('p', { class: 'error', role: 'alert' });
  const input = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false' });
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'key-title' }, h('form', { on: { submit: keep } },
    h('h2', { id: 'key-title', text: 'key.title' }), why, field('key.label', input, 'key.help'),
    h('div', { class: 'row end' }, button('key.forget', () => close('')), h('button', { type: 'submit', class: 'primary', text: 'key.use' }))));
  document.body.append(dialog);
  return { dialog, input, why };
}

/** @param {Event} event */
function keep(event) {
  event.preventDefault();
  close(parts?.input.value.trim());
}

/** @param {string} value */
function close(value) {
  setKey(value);
  parts?.dialog.close();
  listeners.forEach((listener) => listener());
}

/** @param {string} [reason] */
export function askKey(reason = '') {
  parts ||= make();
  parts.why.textContent = reason;
  parts.input.value = key();
  if (!parts.dialog.open) parts.dialog.showModal();
  parts.input.focus();
}

document.addEventListener('key-wanted', (event) => askKey(/** @type {CustomEvent} */ (event).detail));
