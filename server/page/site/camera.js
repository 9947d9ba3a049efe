/** A photograph by the browser's camera. */
import { button, h } from './dom.js';
import { t } from './i18n.js';

/** @param {HTMLVideoElement} video @returns {Promise<File>} */
function still(video) {
  const canvas = h('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob((/** @type {Blob} */ blob) => resolve(new File([blob], 'photograph.jpg', { type: 'image/jpeg' })), 'image/jpeg', 0.92));
}

/** @param {(file: File) => void} take */
export async function takePhotograph(take) {
  const why = h('p', { class: 'error', role: 'alert' });
  const video = h('video', { autoplay: true, playsinline: true, label: 'camera.view' });
  /** @type {MediaStream | undefined} */
  let stream;
  const shoot = button('camera.take', async () => { const file = await still(video); dialog.close(); take(file); }, { class: 'primary', disabled: true });
  const dialog = h('dialog', { class: 'dialog', label: 'picture.camera', on: { close: end } }, video, why,
    h('div', { class: 'row end' }, button('common.cancel', () => dialog.close()), shoot));

  function end() {
    stream?.getTracks().forEach((track) => track.stop());
    dialog.remove();
  }

  document.body.append(dialog);
  dialog.showModal();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
    video.srcObject = stream;
    video.addEventListener('loadeddata', () => { shoot.disabled = false; shoot.focus(); });
    if (!dialog.isConnected) end();
  } catch (error) {
    why.textContent = t('camera.none', { why: /** @type {Error} */ (error).message });
  }
}
