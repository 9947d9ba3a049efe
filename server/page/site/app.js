/** Begins: words, models, tabs. A tab's code is loaded when it is first opened. */
import { h } from './dom.js';
import { t, useLanguage } from './i18n.js';
import { loadModels } from './models.js';
import { settings } from './settings.js';
import { tabs } from './tabs.js';

/** Each makes the view, once, and says what to do when its tab is opened or left. */
const VIEWS = {
  try: () => import('./try.js'),
  ask: () => import('./ask.js'),
  teach: () => import('./teach.js'),
  search: () => import('./search.js'),
  inside: () => import('./inside.js'),
  monitor: () => import('./monitor.js'),
  'load-test': () => import('./loadtest.js'),
};

/** @typedef {{shown?: () => void, left?: () => void}} View */
/** @type {Map<string, View>} */
const views = new Map();
let current = '';

/** @param {string} name @param {HTMLElement} panel */
async function show(name, panel) {
  if (current !== name) views.get(current)?.left?.();
  current = name;
  history.replaceState(null, '', `#${name}`);
  document.title = `${t(`tab.${name}`)} · limoe`;
  if (!views.has(name)) {
    views.set(name, {});
    const { view } = await VIEWS[/** @type {keyof typeof VIEWS} */ (name)]();
    views.set(name, view(panel));
  }
  if (current === name) views.get(name)?.shown?.();
}

async function start() {
  await useLanguage();
  const panels = Object.fromEntries(Object.keys(VIEWS).map((name) => [name, h('section', { class: `view ${name}`, hidden: true })]));
  document.getElementById('main')?.append(...Object.values(panels));
  settings(/** @type {HTMLElement} */ (document.getElementById('settings')));
  const asked = location.hash.slice(1);
  const { list, open } = tabs({ words: 'tab', label: 'tab.label', first: asked in VIEWS ? asked : 'try',
    tabs: Object.entries(panels).map(([name, panel]) => ({ name, panel })), opened: (name) => show(name, panels[name]) });
  document.getElementById('tabs')?.replaceWith(list);
  // A file that misses its place would take the page's.
  for (const kind of ['dragover', 'drop']) addEventListener(kind, (event) => event.preventDefault());
  addEventListener('hashchange', () => location.hash.slice(1) in VIEWS && location.hash.slice(1) !== current && open(location.hash.slice(1)));
  await loadModels();
  document.documentElement.dataset.ready = 'true';
}

start();
