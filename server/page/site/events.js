/** Answers that come as events, each a line of JSON. */
import { ApiError } from './api.js';
import { t } from './i18n.js';

/** @param {Response} answer */
async function* linesOf(answer) {
  const reader = /** @type {ReadableStream} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop() || '';
      yield* lines;
    }
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error; // else the connection is lost, which the reader tells
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** What a stream says, up to its [DONE]. One that ends without it, or with an error, throws. @param {Response} answer @returns {AsyncGenerator<any>} */
export async function* eventsOf(answer) {
  for await (const line of linesOf(answer)) {
    if (!line.startsWith('data: ')) continue;
    const said = line.slice('data: '.length);
    if (said === '[DONE]') return;
    const event = JSON.parse(said);
    if (event.error) throw new ApiError(answer.status, event.error, 0);
    yield event;
  }
  throw new ApiError(answer.status, { message: t('ask.broken') }, 0);
}
