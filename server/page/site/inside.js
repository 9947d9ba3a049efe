/** Inside: which expert took which patch of a picture, and which token of a text, layer by layer; and which patches the text's
 * score comes from. */
import { colour, swatch } from './chart.js';
import { debounce, field, h } from './dom.js';
import { number, onLanguage, t, tell } from './i18n.js';
import { can, model, onModel, whyNoModel } from './models.js';
import { FITS, patchMap, smallMap } from './patches.js';
import { picturePlace } from './picture.js';
import { counts, routing } from './routing.js';
import { sharesFigure } from './shares.js';

const PAUSE = 400; // ms after the last letter

/** @typedef {import('./routing.js').Routed} Routed */
/** @typedef {import('./routing.js').Taken} Taken */

/** What most models of a kind do with a picture; the reader may say otherwise. @type {Record<string, string>} */
const FIT_OF = { limoe: 'pad', siglip: 'stretch' };

/** @param {Taken} taken */
const gates = (taken) => taken.map(({ expert, gate }) => t('inside.gate.one', { expert, gate: number(gate, { minimumFractionDigits: 3, maximumFractionDigits: 3 }) })).join('; ');

/** The text's tokens, coloured as the patches are. @param {Routed} routed @param {number} block @param {(text: string) => void} point */
function tokensOf({ text }, block, point) {
  const taken = text.byBlock.get(block);
  if (!taken) return h('p', { class: 'help', text: 'common.none' });
  return h('div', { class: 'stack' }, h('div', { class: 'tokens' }, ...taken.map((one, i) => {
    const say = () => point(t('inside.gate.token', { id: text.ids[i], gates: gates(one) }));
    return colour(h('button', { type: 'button', class: 'token', 'aria-describedby': 'gate', on: { pointerenter: say, focus: say } }, String(text.ids[i])), one[0]?.expert ?? 0);
  })), h('p', { class: 'help', text: 'inside.tokens.help' }));
}

/** @param {Routed} routed @param {number} block */
function legendOf({ picture, text, experts }, block) {
  const patches = counts(picture.byBlock.get(block)?.patches || [], experts);
  const tokens = counts(text.byBlock.get(block) || [], experts);
  return h('ul', { class: 'legend' }, ...patches.map((n, expert) => h('li', {}, swatch(expert), t('inside.legend.row', { expert, patches: n, tokens: tokens[expert] }))));
}

/** @param {Routed} routed @param {number} chosen @param {(block: number) => void} choose */
function layersOf({ blocks, picture }, chosen, choose) {
  return h('div', { class: 'layers', role: 'group', label: 'inside.layers' }, ...blocks.map((block) => {
    const layer = picture.byBlock.get(block);
    return h('button', { type: 'button', 'aria-pressed': block === chosen, on: { click: () => choose(block) } },
      layer && smallMap(layer.patches, picture.rows, picture.columns), h('span', { text: 'inside.block', args: { block } }));
  }));
}

/** @param {HTMLElement} panel */
export function view(panel) {
  /** @type {Blob | null} */
  let file = null;
  let url = '';
  /** @type {Routed | null} */
  let routed = null;
  let chosen = -1;
  let running = new AbortController();
  const text = h('input', { type: 'text', autocomplete: 'off' });
  text.value = t('inside.text.first');
  const fit = h('select', { on: { change: () => draw() } }, ...Object.keys(FITS).map((name) => h('option', { value: name, text: `inside.fit.${name}` })));
  const why = h('p', { class: 'error', role: 'alert' });
  const empty = h('p', { class: 'empty', text: 'inside.empty' });
  const picture = h('div');
  const beside = h('div', { class: 'stack' });
  const shares = sharesFigure();
  const gate = h('p', { class: 'gate', id: 'gate', role: 'status' });
  const grid = h('div', { class: 'inside-grid', hidden: true }, h('div', { class: 'stack' }, picture, gate), beside);

  /** @param {string} said */
  const point = (said) => { gate.textContent = said; };

  /** @param {number} at */
  function pointPatch(at) {
    const layer = routed?.picture.byBlock.get(chosen);
    if (!routed || !layer) return;
    const { columns } = routed.picture;
    point(t('inside.gate.patch', { row: Math.floor(at / columns) + 1, column: (at % columns) + 1, gates: gates(layer.patches[at]) }));
  }

  /** @param {number} block */
  function choose(block) {
    chosen = block;
    draw();
    /** @type {HTMLElement | null} */ (panel.querySelector('.layers [aria-pressed="true"]'))?.focus();
  }

  function draw() {
    empty.hidden = routed !== null || !shares.element.hidden;
    grid.hidden = routed === null;
    if (!routed) return;
    const layer = routed.picture.byBlock.get(chosen);
    const { rows, columns } = routed.picture;
    tell(gate, 'text', 'inside.gate.none');
    picture.replaceChildren(patchMap({ url, fit: fit.value, rows, columns, block: chosen, pointed: pointPatch,
      patches: layer?.patches || new Array(rows * columns).fill([]) }));
    const classToken = layer?.classToken ? h('p', { class: 'help' }, t('inside.gate.class', { gates: gates(layer.classToken) })) : null;
    beside.replaceChildren(h('h3', { text: 'inside.layers' }), layersOf(routed, chosen, choose), h('h3', { text: 'inside.tokens' }), tokensOf(routed, chosen, point),
      h('h3', { text: 'inside.legend' }), legendOf(routed, chosen), ...(classToken ? [classToken] : []));
  }

  /** Why there is nothing to see; '': there is. */
  function obstacle() {
    if (!model()) return whyNoModel();
    return can('routing') || can('attention') ? '' : t('inside.cannot', { model: model()?.id || '' });
  }

  async function run() {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    why.textContent = obstacle();
    if (why.textContent || !file) return;
    try {
      await Promise.all([route(file, signal), share(file, signal)]);
      draw();
    } catch (error) {
      if (!signal.aborted) why.textContent = /** @type {Error} */ (error).message;
    }
  }

  /** @param {Blob} picked @param {AbortSignal} signal */
  async function route(picked, signal) {
    routed = can('routing') ? await routing(picked, text.value.trim(), model()?.id || '', signal) : null;
    if (routed && !routed.blocks.includes(chosen)) chosen = routed.blocks[0];
    draw();
  }

  /** @param {Blob} picked @param {AbortSignal} signal */
  async function share(picked, signal) {
    if (can('attention') && text.value.trim()) await shares.show(picked, text.value.trim(), model()?.id || '', signal);
    else shares.clear();
  }

  /** @param {File[]} files */
  function take([picked]) {
    URL.revokeObjectURL(url);
    file = picked;
    url = URL.createObjectURL(file);
    run();
  }

  function fresh() {
    fit.value = FIT_OF[/** @type {any} */ (model())?.architecture] || 'crop';
    run();
  }

  text.addEventListener('input', debounce(run, PAUSE));
  onModel(fresh);
  onLanguage(draw);
  panel.append(h('div', { class: 'stack' }, h('h2', { class: 'hidden', text: 'tab.inside' }),
    h('div', { class: 'columns' }, picturePlace({ take }), h('div', { class: 'card stack' }, field('inside.text', text), field('inside.fit', fit))),
    why, empty, grid, shares.element));
  fresh();
  return {};
}
