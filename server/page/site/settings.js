/** At the page's upper end: model, language, colours, key. */
import { h } from './dom.js';
import { LANGUAGES, chooseLanguage, language, onLanguage } from './i18n.js';
import { always } from './kept.js';
import { askKey } from './key.js';
import { modelSelect } from './models.js';

const AUTO = 'auto';
const THEMES = [AUTO, 'light', 'dark'];
const SCHEME = 'limoe-theme';

function applyTheme() {
  document.documentElement.dataset.theme = always.get(SCHEME) || AUTO;
}

applyTheme(); // before anything is shown

function themeSelect() {
  const select = h('select', { label: 'settings.theme', on: { change: () => { always.set(SCHEME, select.value); applyTheme(); } } },
    ...THEMES.map((theme) => h('option', { value: theme, text: `settings.theme.${theme}` })));
  select.value = always.get(SCHEME) || AUTO;
  return select;
}

function languageSelect() {
  const select = h('select', { label: 'settings.language', on: { change: () => chooseLanguage(select.value) } },
    ...Object.entries(LANGUAGES).map(([tag, name]) => h('option', { value: tag, lang: tag }, name)));
  const show = () => { select.value = language(); };
  onLanguage(show);
  show();
  return select;
}

/** @param {HTMLElement} place */
export function settings(place) {
  place.append(modelSelect(), languageSelect(), themeSelect(),
    h('button', { type: 'button', text: 'settings.key', on: { click: () => askKey() } }));
}
