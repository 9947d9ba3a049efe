/** Labels and templates under a name: the server's /v1/classifiers. */
import { askJson } from './api.js';
import { button, field, h, say } from './dom.js';
import { t } from './i18n.js';

export const MOST_SHOWN = 1000;

/** To choose among names that the server has, or none of them. @param {string} none the words of that @param {string[]} names @param {boolean} more whether there are more */
export const nameOptions = (none, names, more) => [h('option', { value: '', text: none }), ...names.map((name) => h('option', { value: name }, name)),
  ...(more ? [h('option', { disabled: true, text: 'classifiers.more' })] : [])];

/**
 * A choice among the saved ones, and a way to save what is written now.
 * @param {{written: () => {labels: string[], templates: string[]}, chosen: (name: string, saved?: {labels: string[], templates: string[]}) => void}} what
 */
export function classifiersView({ written, chosen }) {
  const select = h('select', { on: { change: pick } });
  const name = h('input', { type: 'text', required: true, maxlength: 128, pattern: '[A-Za-z0-9_\\-][A-Za-z0-9._\\-]*', autocomplete: 'off', spellcheck: 'false', hint: 'classifiers.example' });
  const remove = button('classifiers.delete', drop, { class: 'quiet', hidden: true });
  const why = h('p', { class: 'error', role: 'alert' });
  const save = h('form', { class: 'row save', on: { submit: keep } }, field('classifiers.name', name),
    h('button', { type: 'submit', text: 'classifiers.save' }));

  /** @param {() => Promise<void>} act */
  async function trying(act) {
    why.textContent = '';
    await act().catch((error) => { why.textContent = error.message; });
  }

  async function load(keep = select.value) {
    const { data, has_more: more } = await askJson(`v1/classifiers?limit=${MOST_SHOWN}`);
    select.replaceChildren(...nameOptions('classifiers.none', data.map((/** @type {{name: string}} */ saved) => saved.name), more));
    select.value = keep;
    if (!select.value) select.value = '';
    remove.hidden = !select.value;
  }

  function pick() {
    trying(async () => {
      remove.hidden = !select.value;
      const saved = select.value ? await askJson(`v1/classifiers/${encodeURIComponent(select.value)}`) : undefined;
      chosen(select.value, saved);
    });
  }

  /** @param {Event} event */
  function keep(event) {
    event.preventDefault();
    trying(async () => {
      const saved = await askJson(`v1/classifiers/${encodeURIComponent(name.value)}`, { method: 'PUT', json: written() });
      await load(saved.name);
      chosen(saved.name, saved);
      say(t('classifiers.saved', { name: saved.name }));
      name.value = '';
    });
  }

  function drop() {
    const gone = select.value;
    trying(async () => {
      await askJson(`v1/classifiers/${encodeURIComponent(gone)}`, { method: 'DELETE' });
      await load('');
      chosen('');
      say(t('classifiers.deleted', { name: gone }));
    });
  }

  return {
    element: h('div', { class: 'classifiers' }, h('div', { class: 'row' }, field('classifiers.label', select), remove), save, why),
    load: () => trying(() => load()),
    /** What is written is no longer what is saved. */
    clear: () => { select.value = ''; remove.hidden = true; },
  };
}
