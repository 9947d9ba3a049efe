/** Which parts of a picture its score for a text comes from: the map that /v1/attention draws. */
import { ask, base64, patiently } from './api.js';
import { h } from './dom.js';

/** A figure that is hidden until there is a map. */
export function sharesFigure() {
  let url = '';
  const image = h('img', { alternative: 'inside.shares.alt' });
  const element = h('figure', { class: 'shares', hidden: true },
    h('h3', { text: 'inside.shares' }), image, h('figcaption', { class: 'help', text: 'inside.shares.help' }));

  function clear() {
    element.hidden = true;
    URL.revokeObjectURL(url);
  }

  /** @param {Blob} picture @param {string} text @param {string} model @param {AbortSignal} signal */
  async function show(picture, text, model, signal) {
    const json = { image: await base64(picture), texts: [text], format: 'png', model };
    const drawn = await (await patiently(() => ask('v1/attention', { json, signal }), signal)).blob();
    clear();
    url = URL.createObjectURL(drawn);
    image.src = url;
    element.hidden = false;
  }

  return { element, clear, show };
}
