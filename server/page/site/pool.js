/** Several at once, and not all. */

/**
 * Calls for each item, at most `width` at a time, in order of their beginnings.
 * @template T
 * @param {Iterable<T> | AsyncIterable<T>} items @param {number} width @param {(item: T) => Promise<void>} call
 */
export async function pool(items, width, call) {
  const iterator = /** @type {any} */ (items)[Symbol.asyncIterator]?.() ?? /** @type {any} */ (items)[Symbol.iterator]();
  let taken = Promise.resolve();
  // One takes at a time: an asynchronous iterator need not bear two.
  const take = () => {
    const next = taken.then(() => iterator.next());
    taken = next.then(() => undefined, () => undefined);
    return next;
  };
  const worker = async () => {
    for (let next = await take(); !next.done; next = await take()) await call(next.value);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
