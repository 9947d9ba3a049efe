/** Reads zip files (APPNOTE.TXT 6.3): stored and deflated entries, zip64 too; only as much of the file as is asked for. */
import { t } from './i18n.js';

const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_AT = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const MOST_END = 65557; // bytes from the end in which the directory's end is: its own, and the longest comment
const MOST_ENTRIES = 200000;
const MOST_DIRECTORY = 64 * 2 ** 20; // bytes
const MOST_MB = 64; // of one file, unpacked: twice what a server takes if it is not told otherwise
const ENCRYPTED = 1;
const UTF8 = 0x800;
const WHOLE32 = 0xffffffff;

/** @typedef {{name: string, size: number, packed: number, crc: number, method: number, flags: number, at: number}} Entry */

/** @param {Blob} file @param {number} from @param {number} to */
const viewOf = async (file, from, to) => new DataView(await file.slice(from, to).arrayBuffer());
/** @param {DataView} view @param {number} at */
const long = (view, at) => Number(view.getBigUint64(at, true));

/** Where the directory is. @param {Blob} file */
async function directory(file) {
  const start = Math.max(0, file.size - MOST_END);
  const tail = await viewOf(file, start, file.size);
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== END) at--;
  if (at < 0) throw new Error(t('zip.directory'));
  const found = { count: tail.getUint16(at + 10, true), size: tail.getUint32(at + 12, true), from: tail.getUint32(at + 16, true) };
  if (at < 20 || tail.getUint32(at - 20, true) !== END64_AT) return found;
  const end = await viewOf(file, long(tail, at - 12), long(tail, at - 12) + 56);
  if (end.byteLength < 56 || end.getUint32(0, true) !== END64) throw new Error(t('zip.directory'));
  return { count: long(end, 32), size: long(end, 40), from: long(end, 48) };
}

/** What zip64 says in place of fields that are too small for it. @param {DataView} view @param {number} at @param {number} end @param {Entry} entry */
function widen(view, at, end, entry) {
  for (; at + 4 <= end; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 1) continue;
    let field = at + 4;
    for (const name of /** @type {('size' | 'packed' | 'at')[]} */ (['size', 'packed', 'at'])) {
      if (entry[name] !== WHOLE32) continue;
      entry[name] = long(view, field);
      field += 8;
    }
  }
}

/** @param {DataView} view @param {number} at */
function entryAt(view, at) {
  if (view.getUint32(at, true) !== ENTRY) throw new Error(t('zip.directory'));
  const flags = view.getUint16(at + 8, true);
  const [nameSize, extraSize, commentSize] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
  const name = new TextDecoder(flags & UTF8 ? 'utf-8' : 'latin1').decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameSize));
  const entry = { name, flags, method: view.getUint16(at + 10, true), crc: view.getUint32(at + 16, true),
    packed: view.getUint32(at + 20, true), size: view.getUint32(at + 24, true), at: view.getUint32(at + 42, true) };
  widen(view, at + 46 + nameSize, at + 46 + nameSize + extraSize, entry);
  return { entry, next: at + 46 + nameSize + extraSize + commentSize };
}

/** @param {File} file @returns {Promise<Entry[]>} */
export async function entriesOf(file) {
  try {
    const { count, size, from } = await directory(file);
    if (count > MOST_ENTRIES || size > MOST_DIRECTORY || from + size > file.size) throw new Error(t('zip.directory'));
    const view = await viewOf(file, from, from + size);
    const entries = [];
    for (let at = 0; entries.length < count;) {
      const { entry, next } = entryAt(view, at);
      entries.push(entry);
      at = next;
    }
    return entries;
  } catch (error) {
    const beyond = error instanceof RangeError; // what is read lies behind the end
    throw new Error(t('zip.broken', { name: file.name, why: beyond ? t('zip.directory') : /** @type {Error} */ (error).message }));
  }
}

/** The unpacked bytes, held to the size that the directory states. @param {ReadableStream<Uint8Array>} stream @param {number} size */
async function collect(stream, size) {
  const parts = [];
  let got = 0;
  for (const reader = stream.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    got += value.length;
    if (got > size) { await reader.cancel(); throw new Error(t('zip.bytes')); }
    parts.push(value);
  }
  if (got !== size) throw new Error(t('zip.bytes'));
  return new Blob(/** @type {BlobPart[]} */ (parts));
}

/** @param {File} file @param {Entry} entry @returns {Promise<Blob>} */
export async function unpack(file, entry) {
  if (entry.flags & ENCRYPTED) throw new Error(t('zip.encrypted'));
  if (Math.max(entry.size, entry.packed) > MOST_MB * 1e6) throw new Error(t('zip.large', { most: MOST_MB }));
  const head = await viewOf(file, entry.at, entry.at + 30);
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw new Error(t('zip.entry'));
  const from = entry.at + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = file.slice(from, from + entry.packed);
  if (entry.method === 0 && packed.size !== entry.size) throw new Error(t('zip.bytes'));
  if (entry.method === 0) return packed;
  if (entry.method !== 8) throw new Error(t('zip.method', { method: entry.method }));
  return collect(packed.stream().pipeThrough(/** @type {any} */ (new DecompressionStream('deflate-raw'))), entry.size).catch((error) => {
    throw error instanceof TypeError ? new Error(t('zip.entry')) : error; // the stream's own, of what does not inflate
  });
}
