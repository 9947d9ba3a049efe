/** A job that learns an adapter: how far it is, and what it is worth so far. */
import { button, h, say } from './dom.js';
import { number, percent, t, tell } from './i18n.js';

/** The server's names of what it is at. @type {Record<string, string>} */
const STAGES = { probe: 'teach.stage.probe', 'tail, on trial': 'teach.stage.trial', tail: 'teach.stage.tail' };

/** @param {{state: string}} job */
export const isOver = ({ state }) => state !== 'queued' && state !== 'training';

/** @param {number | null | undefined} value @param {(value: number) => string} [written] */
const orNone = (value, written = number) => (value === null || value === undefined ? '–' : written(value));

/** Per cent, of a hundred. @param {number} value */
const right = (value) => percent(value / 100);

/** The figures, each with the key of its words. @param {any} job @returns {[string, string][]} */
const figuresOf = ({ epoch, epochs, loss, seconds, held_out: held }) => [
  ['teach.epoch', epochs ? t('teach.epoch.of', { epoch: number(epoch), epochs: number(epochs) }) : '–'],
  ['teach.loss', orNone(loss, (value) => number(value, { maximumFractionDigits: 3 }))],
  ['teach.seconds', orNone(seconds, (value) => number(value, { maximumFractionDigits: 1 }))],
  ['teach.before', orNone(held?.before, right)],
  ['teach.after', orNone(held?.after, right)],
];

/** What held-out pictures have decided. @param {any} job */
function verdict({ kind, state, training }) {
  const held = training?.held_out;
  if (state !== 'ready' || !held) return null;
  return h('p', {}, t('teach.verdict', { n: number(held.pictures), before: right(held.before), probe: orNone(held.probe?.right, right), tail: orNone(held.tail?.right, right), kind: t(`teach.kind.${kind}`) }));
}

/** @param {any} job */
function lineOf({ state, stage }) {
  const said = t(`teach.state.${state}`);
  return stage ? `${said}: ${stage in STAGES ? t(STAGES[stage]) : stage}` : said;
}

/** @param {() => void} stop */
export function progressView(stop) {
  const bar = h('progress', { max: 1, label: 'teach.progress' });
  const line = h('p', {});
  const cancel = button('common.cancel', stop);
  const figures = h('dl', { class: 'tiles' });
  const more = h('div', { class: 'stack' });
  const element = h('section', { class: 'card stack learning', hidden: true }, h('div', { class: 'row middle' }, h('div', { class: 'grow stack' }, line, bar), cancel), figures, more);
  let said = '';

  /** Said aloud when it changes, not with each reading. @param {string} text */
  function announce(text) {
    line.textContent = text;
    if (text !== said) say(text);
    said = text;
  }

  return {
    element,
    /** @param {number} n pictures that are on their way */
    sending(n) {
      element.hidden = false;
      cancel.hidden = true;
      bar.removeAttribute('value');
      figures.replaceChildren();
      more.replaceChildren();
      announce(t('teach.sending', { n: number(n) }));
    },
    hide: () => { element.hidden = true; },
    /** @param {any} job as GET /v1/adapters/{name} has it */
    show(job) {
      element.hidden = false;
      cancel.hidden = isOver(job);
      bar.hidden = isOver(job);
      bar.value = job.progress ?? 0;
      announce(`${job.name}: ${lineOf(job)}`);
      figures.replaceChildren(...figuresOf(job).map(([key, value]) => h('div', { class: 'tile' }, h('dt', { text: key }), h('dd', {}, value))));
      more.replaceChildren(...[job.reason && h('p', { class: 'error', role: 'alert' }, job.reason), !isOver(job) && job.kind && h('p', {}, t('teach.served', { kind: t(`teach.kind.${job.kind}`) })), verdict(job),
        job.notes?.length && h('ul', { class: 'failures' }, ...job.notes.map((/** @type {string} */ note) => h('li', {}, note)))].filter(Boolean));
    },
  };
}
