/** The vectors of a model's pictures, in memory, and the searching of them; what changes is written to the store first. */
import { dropPicture, dropPictures, keepPictures, loadVectors } from './store.js';

/** @param {Float32Array} values changed in place to mean 0 and deviation 1: so that words and pictures, whose cosines lie apart, weigh alike */
function standardise(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length)) || 1;
  values.forEach((value, i) => { values[i] = (value - mean) / deviation; });
  return values;
}

export class Collection {
  /** @param {string} fingerprint @param {number} width numbers in a vector */
  constructor(fingerprint, width) {
    this.fingerprint = fingerprint;
    this.width = width;
    /** @type {{id: string, name: string}[]} row i of the vectors is of pictures[i] */
    this.pictures = [];
    /** @type {Map<string, number>} */
    this.rows = new Map();
    this.vectors = new Float32Array(0);
  }

  /** @param {string} fingerprint @param {number} width */
  static async load(fingerprint, width) {
    const collection = new Collection(fingerprint, width);
    for (const { id, name, vector } of await loadVectors(fingerprint)) collection.#put(id, name, vector);
    return collection;
  }

  get size() { return this.pictures.length; }

  /** @param {string} id */
  has(id) { return this.rows.has(id); }

  /** @param {string} id @param {string} name @param {Float32Array} vector */
  #put(id, name, vector) {
    const row = this.rows.get(id) ?? this.size;
    if (row === this.size) this.pictures.push({ id, name });
    this.rows.set(id, row);
    if (this.vectors.length < this.size * this.width) {
      const larger = new Float32Array(Math.max(1024, this.size * 2) * this.width);
      larger.set(this.vectors);
      this.vectors = larger;
    }
    this.vectors.set(vector, row * this.width);
  }

  /** @param {{id: string, name: string, vector: Float32Array, thumb: Blob | null}[]} pictures */
  async add(pictures) {
    await keepPictures(pictures.map((picture) => ({ ...picture, fingerprint: this.fingerprint })));
    for (const { id, name, vector } of pictures) this.#put(id, name, vector);
  }

  /** @param {string} id */
  async remove(id) {
    await dropPicture(this.fingerprint, id);
    const row = this.rows.get(id);
    if (row === undefined) return;
    const last = this.size - 1;
    this.vectors.copyWithin(row * this.width, last * this.width, (last + 1) * this.width);
    this.pictures[row] = this.pictures[last];
    this.rows.set(this.pictures[row].id, row);
    this.pictures.pop();
    this.rows.delete(id);
  }

  async clear() {
    await dropPictures(this.fingerprint);
    this.pictures = [];
    this.rows.clear();
  }

  /** @param {string} id @returns {Float32Array | undefined} */
  vector(id) {
    const row = this.rows.get(id);
    return row === undefined ? undefined : this.vectors.slice(row * this.width, (row + 1) * this.width);
  }

  /** Each picture's cosine with a unit vector. @param {Float32Array} query */
  cosines(query) {
    const out = new Float32Array(this.size);
    for (let row = 0, at = 0; row < out.length; row++) {
      let sum = 0;
      for (let i = 0; i < this.width; i++, at++) sum += query[i] * this.vectors[at];
      out[row] = sum;
    }
    return out;
  }

  /**
   * All pictures, the best first. With both words and a picture, their scores are standardised and weighed: `balance` is the
   * picture's share.
   * @param {{text?: Float32Array, picture?: Float32Array, balance?: number}} query
   */
  search({ text, picture, balance = 0.5 }) {
    const one = text || picture;
    if (!one) return this.pictures.map((found) => ({ ...found, score: NaN })).sort((a, b) => a.name.localeCompare(b.name));
    let scores = this.cosines(one);
    if (text && picture) {
      const words = standardise(scores);
      const looks = standardise(this.cosines(picture));
      scores = words.map((score, i) => (1 - balance) * score + balance * looks[i]);
    }
    return this.pictures.map((found, i) => ({ ...found, score: scores[i] })).sort((a, b) => b.score - a.score);
  }
}
