/** A place for pictures: dropped, pasted, chosen, photographed. */
import { button, h } from './dom.js';
import { tell } from './i18n.js';

const EXAMPLES = ['cat.png', 'lemon.webp', 'rocket.jpg'];

/** @param {string} name */
async function example(name) {
  const answer = await fetch(new URL(`page/${name}`, document.baseURI));
  return new File([await answer.blob()], name);
}

/** @param {DataTransfer | null} data */
const filesOf = (data) => [...(data?.files || [])];

/** Pictures pasted anywhere while the place is on the screen. @param {HTMLElement} place @param {(files: File[]) => void} take */
function takePasted(place, take) {
  document.addEventListener('paste', (event) => {
    const files = filesOf(event.clipboardData);
    if (!files.length || place.offsetParent === null) return;
    event.preventDefault();
    take(files);
  });
}

/** Files dropped on an element. @param {HTMLElement} place @param {(data: DataTransfer) => void} take */
export function takeDropped(place, take) {
  let depth = 0;
  /** @param {number} step */
  const over = (step) => place.classList.toggle('over', (depth = Math.max(0, depth + step)) > 0);
  place.addEventListener('dragenter', () => over(1));
  place.addEventListener('dragleave', () => over(-1));
  place.addEventListener('dragover', (event) => event.preventDefault());
  place.addEventListener('drop', (event) => {
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer) take(event.dataTransfer);
  });
}

/** The camera of a device that is not a phone; there the system's own is asked for. @param {(file: File) => void} take @param {HTMLInputElement} input */
async function photograph(take, input) {
  if (!navigator.mediaDevices?.getUserMedia || matchMedia('(pointer: coarse)').matches) return input.click();
  const { takePhotograph } = await import('./camera.js');
  return takePhotograph(take);
}

/**
 * @param {{take: (files: File[]) => void, several?: boolean, examples?: boolean}} what
 * @returns {HTMLElement}
 */
export function picturePlace({ take, several = false, examples = true }) {
  /** @param {File[]} files */
  const first = (files) => files.length && take(several ? files : files.slice(0, 1));
  const chosen = (/** @type {Event} */ event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    first([...(input.files || [])]);
    input.value = '';
  };
  const input = h('input', { type: 'file', accept: 'image/*', multiple: several, hidden: true, on: { change: chosen } });
  const camera = h('input', { type: 'file', accept: 'image/*', capture: 'environment', hidden: true, on: { change: chosen } });
  const samples = EXAMPLES.map((name) => {
    const image = h('img', { src: new URL(`page/${name}`, document.baseURI), alt: '', width: 36, height: 36, loading: 'lazy' });
    const sample = h('button', { type: 'button', class: 'sample', on: { click: async () => first([await example(name)]) } }, image);
    tell(sample, 'aria-label', 'picture.example', { name: name.replace(/\..*/, '') });
    return sample;
  });
  const place = h('div', { class: 'place' }, input, camera,
    h('p', { class: 'invite', text: several ? 'picture.invite.several' : 'picture.invite' }),
    h('div', { class: 'row center' }, button('picture.choose', () => input.click(), { class: 'primary' }),
      button('picture.camera', () => photograph((file) => first([file]), camera))),
    examples && h('div', { class: 'row center samples' }, h('span', { class: 'help', text: 'picture.or' }), ...samples));
  takeDropped(place, (data) => first(filesOf(data)));
  takePasted(place, first);
  return place;
}

/** A picture of a file, or a sign where the browser cannot show its format. @param {Blob} blob @param {string} name */
export function preview(blob, name) {
  const image = h('img', { src: URL.createObjectURL(blob), alt: name });
  image.addEventListener('load', () => URL.revokeObjectURL(image.src));
  image.addEventListener('error', () => {
    URL.revokeObjectURL(image.src);
    image.replaceWith(h('span', { class: 'blank', role: 'img', 'aria-label': name }, (name.split('.').pop() || '?').slice(0, 5)));
  });
  return image;
}
