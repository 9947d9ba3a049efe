/** A picture under its patches, each in the colour of the expert that took it. */
import { colour } from './chart.js';
import { h, svg } from './dom.js';
import { t } from './i18n.js';

/** @typedef {import('./routing.js').Taken} Taken */

/** How the picture fills the square that the model sees: SVG's words for it. @type {Record<string, string>} */
export const FITS = { pad: 'xMidYMid meet', crop: 'xMidYMid slice', stretch: 'none' };

/** @param {Taken} taken @param {number} at @param {number} columns */
function patch(taken, at, columns) {
  const [first] = taken;
  const rect = svg('rect', { class: 'patch', x: at % columns, y: Math.floor(at / columns), width: 1, height: 1, 'data-at': at });
  if (!first) return rect;
  rect.setAttribute('fill', 'var(--swatch)');
  rect.setAttribute('fill-opacity', (0.25 + 0.45 * Math.min(1, first.gate)).toFixed(3));
  return colour(rect, first.expert);
}

/**
 * Small and without the picture: for the choice of a layer.
 * @param {Taken[]} patches @param {number} rows @param {number} columns
 */
export function smallMap(patches, rows, columns) {
  return svg('svg', { viewBox: `0 0 ${columns} ${rows}`, 'aria-hidden': 'true' }, ...patches.map(([first], at) =>
    colour(svg('rect', { x: at % columns, y: Math.floor(at / columns), width: 1.02, height: 1.02, fill: first ? 'var(--swatch)' : 'none' }), first?.expert ?? 0)));
}

/**
 * @param {{url: string, fit: string, rows: number, columns: number, patches: Taken[], block: number, pointed: (at: number) => void}} what
 */
export function patchMap({ url, fit, rows, columns, patches, block, pointed }) {
  let at = -1;
  const rects = patches.map((taken, i) => patch(taken, i, columns));
  const image = svg('image', { href: url, width: columns, height: rows, preserveAspectRatio: FITS[fit] });
  const map = svg('svg', { class: 'patches', viewBox: `0 0 ${columns} ${rows}`, tabindex: 0, role: 'application', 'aria-label': t('inside.picture', { block }),
    'aria-describedby': 'gate' }, image, ...rects);

  /** @param {number} to */
  function point(to) {
    if (!(to in rects)) return;
    rects[at]?.classList.remove('at');
    at = to;
    rects[at].classList.add('at');
    map.append(rects[at]); // drawn last, so that its edge is whole
    pointed(at);
  }

  /** @param {Event} event */
  const under = (event) => {
    const found = /** @type {SVGElement} */ (event.target).getAttribute('data-at');
    if (found !== null && Number(found) !== at) point(Number(found));
  };
  map.addEventListener('pointermove', under);
  map.addEventListener('click', under);
  map.addEventListener('focus', () => at < 0 && point(0));
  map.addEventListener('keydown', (event) => {
    const { key } = /** @type {KeyboardEvent} */ (event);
    /** @type {Record<string, number>} */
    const steps = { ArrowRight: at % columns < columns - 1 ? 1 : 0, ArrowLeft: at % columns > 0 ? -1 : 0, ArrowDown: columns, ArrowUp: -columns };
    if (!(key in steps)) return;
    event.preventDefault();
    point(at + steps[key]);
  });
  return h('div', {}, map);
}
