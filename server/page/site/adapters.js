/** The chosen model's adapters: one chosen, how much of it, and one deleted. */
import { askJson } from './api.js';
import { button, field, h, say } from './dom.js';
import { number, onLanguage, t } from './i18n.js';
import { model } from './models.js';

const MOST_KEPT = 1000; // the server's own bound
const STEP = 0.05;

/** @typedef {{name: string, kind: string, strength: number, labels?: string[], templates?: string[]}} Adapter */

/** @param {string} name */
export const adapterPath = (name) => `v1/adapters/${encodeURIComponent(name)}`;

/**
 * Hidden while there is none. The strength is the adapter's own until it is moved.
 * @param {{chosen: (adapter?: Adapter) => void, moved: () => void, deleted?: (name: string) => void}} calls
 */
export function adaptersView({ chosen, moved, deleted }) {
  /** @type {{name: string, kind?: string, model: string | null}[]} without a kind: a job that has made none yet, or has failed */
  let all = [];
  /** @type {Adapter | undefined} */
  let adapter;
  let touched = false;
  const select = h('select', { on: { change: () => trying(() => pick(select.value)) } });
  const strength = h('input', { type: 'range', min: 0, max: 1, step: STEP, on: { input: () => { touched = true; amount(); moved(); } } });
  const shown = h('output', { class: 'numbers' });
  const much = h('div', { class: 'row middle strength', hidden: true }, field('adapters.strength', strength, 'adapters.strength.help'), shown);
  const remove = button('adapters.delete', drop, { class: 'quiet', hidden: true });
  const why = h('p', { class: 'error', role: 'alert' });
  const element = h('div', { class: 'adapters', hidden: true }, h('div', { class: 'row' }, field('adapters.label', select), remove), much, why);

  /** @param {() => Promise<void>} act */
  async function trying(act) {
    why.textContent = '';
    element.setAttribute('aria-busy', 'true');
    await act().catch((error) => { why.textContent = error.message; });
    element.setAttribute('aria-busy', 'false');
  }

  const value = () => (touched ? Number(strength.value) : adapter?.strength ?? 1);
  const amount = () => { shown.value = number(value(), { maximumFractionDigits: 2 }); };

  /** @param {string} name */
  async function pick(name) {
    adapter = name ? await askJson(adapterPath(name)) : undefined;
    touched = false;
    select.value = name;
    remove.hidden = much.hidden = !adapter;
    if (adapter) strength.value = String(adapter.strength);
    amount();
    chosen(adapter);
  }

  /** @param {string} [name] to be chosen, anew where it is already */
  async function load(name) {
    const before = adapter?.name || '';
    all = (await askJson(`v1/adapters?limit=${MOST_KEPT}`)).data;
    const own = all.filter((one) => one.kind && one.model === model()?.id);
    select.replaceChildren(h('option', { value: '', text: 'adapters.none' }), ...own.map((one) => h('option', { value: one.name }, `${one.name} (${one.kind})`)));
    element.hidden = own.length === 0;
    const wanted = name ?? before;
    const there = own.some((one) => one.name === wanted) ? wanted : '';
    select.value = there;
    if (name !== undefined || there !== before) await pick(there);
  }

  function drop() {
    const name = adapter?.name;
    if (!name || !confirm(t('adapters.sure', { name }))) return;
    trying(async () => {
      await askJson(adapterPath(name), { method: 'DELETE' });
      deleted?.(name);
      await load('');
      say(t('adapters.deleted', { name }));
      select.focus();
    });
  }

  onLanguage(amount);
  return {
    element,
    /** @param {string} [name] */
    load: (name) => trying(() => load(name)),
    clear: () => { trying(() => pick('')); },
    /** What of it a request says. */
    asked: () => (adapter ? { adapter: adapter.name, ...(touched ? { strength: value() } : {}) } : {}),
    /** Names that are taken, by whatever model. */
    names: () => all.map((one) => one.name),
    /** @param {string} name */
    has: (name) => all.some((one) => one.name === name && one.kind),
  };
}
