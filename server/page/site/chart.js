/** Lines over time or over any axis, in SVG; and colours for what is told apart by them. */
import { h, svg } from './dom.js';
import { number, t, tell } from './i18n.js';

const USUAL = 480; // units across, until it is known how many pixels there are
const LEAST = 200;
const HEIGHT = 170;
const LEFT = 44;
const BOTTOM = 20;
const TOP = 8;
const COLOURS = 12;

/** Gives an element the n-th colour, as --swatch. @param {HTMLElement | SVGElement} element @param {number} n */
export function colour(element, n) {
  element.style.setProperty('--swatch', `var(--c${n % COLOURS})`);
  return element;
}

/** @param {number} n a colour's number */
export const swatch = (n) => colour(h('span', { class: 'swatch', 'aria-hidden': 'true' }), n);

/** The least of 1, 2, 5 · 10^n that is not below the value. @param {number} value */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return (/** @type {number} */ ([1, 2, 5, 10].find((step) => step * power >= value * (1 - 1e-9)))) * power;
}

/** @param {number} value */
export const short = (value) => number(value, { maximumSignificantDigits: 3, notation: Math.abs(value) >= 1e5 ? 'compact' : 'standard' });

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {(number | null)[]} values as many as there are points; null: none
 * @property {number} [colour]
 */

/** A path through the values that are there; a lone one is a dot. @param {(number | null)[]} values @param {number} most @param {number} width */
function pathOf(values, most, width) {
  const step = (width - LEFT) / Math.max(1, values.length - 1);
  let path = '';
  let pen = 'M';
  values.forEach((value, i) => {
    if (value === null || !Number.isFinite(value)) { pen = 'M'; return; }
    const y = HEIGHT - BOTTOM - (value / most) * (HEIGHT - BOTTOM - TOP);
    path += `${pen}${(LEFT + i * step).toFixed(1)},${y.toFixed(1)}`;
    if (pen === 'M') path += 'h.1';
    pen = 'L';
  });
  return path;
}

/** @param {number} most @param {[string, string]} ends @param {number} width */
function axes(most, ends, width) {
  const marks = [0, 0.5, 1].flatMap((share) => {
    const y = HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
    const text = svg('text', { x: LEFT - 6, y: y + 4, 'text-anchor': 'end' });
    text.textContent = short(share * most);
    return [svg('line', { class: 'grid', x1: LEFT, x2: width, y1: y, y2: y }), text];
  });
  const [from, to] = ends.map((end, i) => {
    const text = svg('text', { x: i ? width : LEFT, y: HEIGHT - 3, 'text-anchor': i ? 'end' : 'start' });
    text.textContent = end;
    return text;
  });
  return [...marks, from, to];
}

/** @param {Series[]} series */
function keysOf(series) {
  return h('ul', { class: 'keys' }, ...series.map(({ name, values, colour: n }, i) => {
    const last = values.findLast((value) => value !== null);
    return h('li', {}, swatch(n ?? i), t('chart.latest', { name, value: last === undefined || last === null ? '–' : short(last) }));
  }));
}

/**
 * A chart with its title; `show` draws it anew. `ends` are what stands at the axis's ends. A unit of the drawing is a pixel:
 * letters have one size, however wide the chart is.
 * @param {string} title a key @param {Record<string, string | number>} [args]
 */
export function lineChart(title, args) {
  const body = h('div');
  const heading = h('h3', {});
  tell(heading, 'text', title, args);
  let width = USUAL;
  /** @type {{series: Series[], ends: [string, string]}} */
  let shown = { series: [], ends: ['', ''] };

  function draw() {
    const { series, ends } = shown;
    const values = series.flatMap((one) => one.values.filter((value) => value !== null));
    const most = ceiling(Math.max(0, .../** @type {number[]} */ (values)));
    const lines = series.map((one, i) => colour(svg('path', { class: 'line', d: pathOf(one.values, most, width) }), one.colour ?? i));
    const picture = svg('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': t(title, args) }, ...axes(most, ends, width), ...lines);
    body.replaceChildren(picture, values.length ? keysOf(series) : h('p', { class: 'help', text: 'chart.nothing' }));
  }

  new ResizeObserver(() => {
    const now = Math.max(LEAST, Math.floor(body.clientWidth));
    if (body.clientWidth === 0 || now === width) return;
    width = now;
    draw();
  }).observe(body);
  return {
    element: h('section', { class: 'card chart stack' }, heading, body),
    /** @param {Series[]} series @param {[string, string]} ends */
    show(series, ends) {
      shown = { series, ends };
      draw();
    },
  };
}
