/** Tabs by the ARIA pattern: arrows, Home and End move, the tab that has the focus is open. */
import { h, uid } from './dom.js';

/**
 * @typedef {object} Tab
 * @property {string} name its words are `${words}.${name}`
 * @property {HTMLElement} panel
 */

/** @param {HTMLElement[]} all @param {KeyboardEvent} event */
function target(all, event) {
  const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
  /** @type {Record<string, number>} */
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 };
  return event.key in to ? all[(to[event.key] + all.length) % all.length] : null;
}

/**
 * @param {{words: string, label: string, tabs: Tab[], first?: string, opened?: (name: string) => void}} what
 * @returns {{list: HTMLElement, open: (name: string) => void}}
 */
export function tabs({ words, label, tabs: all, first, opened }) {
  const buttons = all.map(({ name, panel }) => {
    panel.id ||= uid('panel');
    const tab = h('button', { type: 'button', role: 'tab', id: uid('tab'), 'aria-controls': panel.id, text: `${words}.${name}`,
      on: { click: () => open(name) } });
    tab.dataset.name = name;
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', tab.id);
    return tab;
  });
  const list = h('div', { role: 'tablist', class: 'tabs', label, on: { keydown: move } }, ...buttons);

  /** @param {KeyboardEvent} event */
  function move(event) {
    const to = target(buttons, event);
    if (!to) return;
    event.preventDefault();
    to.focus();
    open(to.dataset.name || '');
  }

  /** @param {string} name */
  function open(name) {
    all.forEach((tab, i) => {
      const here = tab.name === name;
      buttons[i].setAttribute('aria-selected', String(here));
      buttons[i].tabIndex = here ? 0 : -1;
      tab.panel.hidden = !here;
      if (here) buttons[i].scrollIntoView({ block: 'nearest', inline: 'nearest' });
    });
    opened?.(name);
  }

  open(first || all[0].name);
  return { list, open };
}
