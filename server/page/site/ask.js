/** Ask: a question about a picture, answered by the language model that the server asks; and what that one is told. */
import { ask, base64, patiently } from './api.js';
import { answerView } from './ask_answer.js';
import { bankSelect } from './ask_bank.js';
import { askCode } from './ask_code.js';
import { toldView } from './ask_told.js';
import { codeView } from './code.js';
import { button, field, h, lines } from './dom.js';
import { eventsOf } from './events.js';
import { t } from './i18n.js';
import { model, onModel, whyNoModel } from './models.js';
import { picturePlace } from './picture.js';

/** The question as the prompt has it. @param {string} question @param {string[]} choices */
const prompted = (question, choices) => (choices.length ? `${question} Answer with one of: ${choices.join(', ')}.` : question);

/** @param {HTMLElement} panel */
export function view(panel) {
  /** @type {File | null} */
  let file = null;
  /** @type {AbortController | null} */
  let running = null;
  let began = 0;
  const question = h('input', { type: 'text', autocomplete: 'off', on: { input: update } });
  const choices = h('textarea', { rows: 3, on: { input: update } });
  question.value = t('ask.question.first');
  const notice = h('p', { class: 'error', role: 'alert' });
  const empty = h('p', { class: 'empty', text: 'ask.empty' });
  const go = h('button', { type: 'submit', class: 'primary', text: 'ask.go' });
  const stop = button('ask.stop', halt, { disabled: true });
  const bank = bankSelect(update);
  const answer = answerView();
  const told = toldView();
  const code = codeView(askCode);

  /** What both requests say beside the picture: the model, and where captions come from. */
  const common = () => ({ ...(bank.name() ? { captions: { vocabulary: bank.name() } } : {}), ...(model() ? { model: model()?.id } : {}) });

  function asked() {
    const among = lines(choices.value);
    return { question: question.value.trim(), ...(among.length ? { choices: among } : {}), ...common(), stream: true };
  }

  function update() {
    code.show({ name: file?.name || 'picture.png', fields: asked() });
  }

  /** What is seen of the picture, which is there before the answer is; also where nobody answers. @param {Promise<string>} image @param {AbortSignal} signal */
  async function describe(image, signal) {
    const json = { image: await image, prompt: { question: prompted(question.value.trim(), lines(choices.value)) }, ...common() };
    const captions = bank.name() !== '';
    const { data } = await (await patiently(() => ask('v1/describe', { json, signal }), signal)).json();
    told.show(data[0], captions);
  }

  /** @param {Promise<string>} image @param {AbortSignal} signal */
  async function read(image, signal) {
    const json = { image: await image, ...asked() };
    const stream = await patiently(() => ask('v1/ask', { json, signal }), signal, answer.waiting);
    for await (const event of eventsOf(stream)) {
      if (event.object !== 'answer') answer.write(event.text);
      else {
        answer.end(event);
        told.told(event.prompt);
      }
    }
  }

  /** Why nothing can be asked; '': it can. */
  function obstacle() {
    if (!model()) return whyNoModel();
    if (!file) return t('ask.picture.none');
    return question.value.trim() ? '' : t('ask.question.none');
  }

  /** @param {boolean} busy */
  function enable(busy) {
    if (!busy && document.activeElement === stop) go.focus(); // it is to be out of reach
    stop.disabled = !busy;
  }

  function halt() {
    if (!running) return;
    running.abort();
    running = null;
    answer.stop(performance.now() - began);
    enable(false);
  }

  async function run() {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    began = performance.now();
    answer.begin();
    told.clear();
    enable(true);
    const image = base64(/** @type {File} */ (file));
    await Promise.all([describe(image, mine.signal), read(image, mine.signal)].map((part) => part.catch((error) => {
      if (running === mine) answer.fail(error);
    })));
    if (running !== mine) return;
    running = null;
    enable(false);
  }

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    notice.textContent = obstacle();
    if (!notice.textContent) run();
  }

  /** @param {File[]} files */
  function take([picked]) {
    halt();
    file = picked;
    notice.textContent = '';
    empty.hidden = true;
    answer.picture(file);
    told.clear();
    update();
  }

  async function load() {
    if (!model()) return;
    await bank.load().catch((error) => { notice.textContent = error.message; });
  }

  onModel(() => { update(); load(); });
  panel.append(h('h2', { class: 'hidden', text: 'tab.ask' }),
    h('div', { class: 'columns' },
      h('div', { class: 'stack' }, picturePlace({ take }),
        h('form', { class: 'card stack', on: { submit } }, field('ask.question', question), field('ask.choices', choices, 'ask.choices.help'), bank.element,
          h('div', { class: 'row end' }, stop, go), h('p', { class: 'help', text: 'ask.model' }))),
      h('div', { class: 'stack' }, notice, empty, answer.element, told.element, code.element)));
  update();
  return { shown: load };
}
