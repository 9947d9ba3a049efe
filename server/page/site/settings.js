/** At the page's upper end: model, language, colours, key. */
import { h } from './dom.js';
import { LANGUAGES, chooseLanguage, language, onLanguage } from './i18n.js';
import { askKey } from './key.js';
import { modelSelect } from './models.js';

const THEMES = ['auto', 'light', 'dark'];
const SCHEME = 'limoe.theme';

function applyTheme() {
  const theme = localStorage.getItem(SCHEME) || 'auto';
  document.documentElement.dataset.theme = theme;
  return theme;
}

function themeSelect() {
  const select = h('select', { label: 'settings.theme', on: { change: () => { localStorage.setItem(SCHEME, select.value); applyTheme(); } } },
    ...THEMES.map((theme) => h('option', { value: theme, text: `settings.theme.${theme}` })));
  select.value = applyTheme();
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
