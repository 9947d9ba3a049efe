/** The picture that is asked about, and the answer as a language model writes it. */
import { h } from './dom.js';
import { number, onLanguage, t, tell } from './i18n.js';
import { preview } from './picture.js';

/** @typedef {{answer: string, chosen?: string | null, prompt: string, upstream: Upstream}} Answer */
/** @typedef {{model: string | null, ms: number, tokens: {prompt: number, completion: number} | null, finish_reason: string | null}} Upstream */

/** @param {number} ms */
const seconds = (ms) => number(ms / 1000, { minimumFractionDigits: 1, maximumFractionDigits: ms < 1000 ? 3 : 1 });

/** @param {Upstream} upstream */
function tookOf({ model, ms, tokens, finish_reason: reason }) {
  return [t('ask.took', { s: seconds(ms) }), tokens && t('ask.tokens', { prompt: number(tokens.prompt), completion: number(tokens.completion) }),
    model, reason && reason !== 'stop' && t('ask.finish', { reason })].filter(Boolean).join(' · ');
}

/** @param {Answer} answer */
function chosenOf({ chosen }) {
  if (chosen === undefined) return '';
  return chosen === null ? t('ask.chosen.none') : t('ask.chosen', { choice: chosen });
}

export function answerView() {
  /** @type {Answer | null} */
  let whole = null;
  const figure = h('figure');
  const text = h('p', { class: 'written' });
  const chosen = h('p', { class: 'chosen' });
  const state = h('p', { class: 'help numbers' });
  const why = h('p', { class: 'error', role: 'alert' });
  const start = h('div', { class: 'help', hidden: true }, h('p', { text: 'ask.start' }), h('code', {}, 'limoe serve --llm-url URL --llm-model NAME'));
  const out = h('div', { class: 'stack', 'aria-live': 'polite' }, text, chosen, state, why, start);
  const element = h('article', { class: 'card answer', hidden: true }, figure, out);

  /** @param {boolean} busy */
  const busy = (busy) => out.setAttribute('aria-busy', String(busy));

  /** Nothing in place of a line of words. */
  function silence() {
    delete state.dataset.words;
    state.textContent = '';
  }

  function draw() {
    if (!whole) return;
    chosen.textContent = chosenOf(whole);
    silence();
    state.textContent = tookOf(whole.upstream);
  }

  function clear() {
    whole = null;
    start.hidden = true;
    for (const part of [text, chosen, why]) part.textContent = '';
    tell(state, 'text', 'ask.empty');
    busy(false);
  }

  onLanguage(draw);
  return {
    element,
    /** @param {File} file */
    picture(file) {
      figure.replaceChildren(preview(file, file.name), h('figcaption', {}, file.name));
      element.hidden = false;
      clear();
    },
    begin() {
      clear();
      tell(state, 'text', 'ask.waiting');
      busy(true);
      element.scrollIntoView({ block: 'nearest' }); // on a phone it is below the question
    },
    /** @param {number} s */
    waiting(s) { tell(state, 'text', 'search.busy', { s: Math.ceil(s) }); },
    /** @param {string} piece */
    write(piece) {
      if (!text.firstChild) silence();
      text.append(piece);
    },
    /** @param {Answer} answer */
    end(answer) {
      whole = answer;
      text.textContent = answer.answer;
      draw();
      busy(false);
    },
    /** What has come stays. @param {number} ms */
    stop(ms) {
      tell(state, 'text', 'ask.stopped', { s: seconds(ms) });
      busy(false);
    },
    /** Of several the first is shown. @param {Error & {code?: string}} error */
    fail(error) {
      if (why.textContent) return;
      why.textContent = error.message;
      start.hidden = error.code !== 'no_language_model';
      silence();
      busy(false);
    },
  };
}
