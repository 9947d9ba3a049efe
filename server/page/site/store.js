/**
 * What the browser keeps: IndexedDB, in three stores.
 *   vectors  of pictures, by the model's fingerprint and the picture's id: what is searched
 *   thumbs   by the same, apart, so that searching reads none of them
 *   results  of load tests, by their id
 */

const NAME = 'limoe';
const VERSION = 1;
const ABOVE_ALL_IDS = '\uffff';

/** @typedef {{fingerprint: string, id: string, name: string, vector: Float32Array}} Kept */

/** @type {Promise<IDBDatabase> | undefined} */
let opened;

function open() {
  opened ||= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('vectors', { keyPath: ['fingerprint', 'id'] });
      request.result.createObjectStore('thumbs', { keyPath: ['fingerprint', 'id'] });
      request.result.createObjectStore('results', { keyPath: 'id' });
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close(); // a newer page's, in another of the browser's tabs
      resolve(request.result);
    };
    request.onerror = () => { opened = undefined; reject(request.error); };
  });
  return opened;
}

/**
 * One transaction; resolves, once it is on the disk, to the result of what `act` asked for.
 * @template T
 * @param {string[]} stores @param {IDBTransactionMode} mode @param {(transaction: IDBTransaction) => IDBRequest<T> | void} act
 * @returns {Promise<T | undefined>}
 */
async function transact(stores, mode, act) {
  const transaction = (await open()).transaction(stores, mode);
  const request = act(transaction);
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** All keys of a model's. @param {string} fingerprint */
const all = (fingerprint) => IDBKeyRange.bound([fingerprint, ''], [fingerprint, ABOVE_ALL_IDS]);

/** @param {string} fingerprint @returns {Promise<Kept[]>} */
export const loadVectors = async (fingerprint) =>
  (await transact(['vectors'], 'readonly', (transaction) => transaction.objectStore('vectors').getAll(all(fingerprint)))) || [];

/** @param {(Kept & {thumb: Blob | null})[]} pictures */
export const keepPictures = (pictures) => transact(['vectors', 'thumbs'], 'readwrite', (transaction) => {
  for (const { fingerprint, id, name, vector, thumb } of pictures) {
    transaction.objectStore('vectors').put({ fingerprint, id, name, vector });
    if (thumb) transaction.objectStore('thumbs').put({ fingerprint, id, thumb });
  }
});

/** @param {string} fingerprint @param {string} id @returns {Promise<Blob | undefined>} */
export const loadThumb = async (fingerprint, id) =>
  (await transact(['thumbs'], 'readonly', (transaction) => transaction.objectStore('thumbs').get([fingerprint, id])))?.thumb;

/** @param {IDBValidKey | IDBKeyRange} which */
const drop = (which) => transact(['vectors', 'thumbs'], 'readwrite', (transaction) => {
  transaction.objectStore('vectors').delete(which);
  transaction.objectStore('thumbs').delete(which);
});

/** @param {string} fingerprint @param {string} id */
export const dropPicture = (fingerprint, id) => drop([fingerprint, id]);
/** @param {string} fingerprint */
export const dropPictures = (fingerprint) => drop(all(fingerprint));

/** @returns {Promise<any[]>} */
export const loadResults = async () => (await transact(['results'], 'readonly', (transaction) => transaction.objectStore('results').getAll())) || [];
/** @param {{id: string}} result */
export const keepResult = (result) => transact(['results'], 'readwrite', (transaction) => transaction.objectStore('results').put(result));
/** @param {string} id */
export const dropResult = (id) => transact(['results'], 'readwrite', (transaction) => { transaction.objectStore('results').delete(id); });
