/** Pictures among what was dropped or chosen: files, folders, zips; opened when it is their turn. */
import { entriesOf, unpack } from './zip.js';

/** @typedef {{id: string, name: string, size: number, open: () => Promise<Blob>}} Source */

const PICTURE = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|hei[cf]|avif|p[bgnp]m|tga|psd)$/i;
const ZIP = /\.zip$/i;
/** Of systems, not of people. */
const OTHERS = /(^|\/)(\.|__MACOSX\/)/;

/** @param {string} name */
const isPicture = (name) => PICTURE.test(name) && !OTHERS.test(name);

/** @param {File} file @param {string} name @returns {Source} */
const sourceOf = (file, name) => ({ id: `${name}|${file.size}|${file.lastModified}`, name, size: file.size, open: async () => file });

/** @param {File} zip @returns {Promise<Source[]>} */
async function sourcesOfZip(zip) {
  const entries = await entriesOf(zip);
  return entries.filter(({ name }) => isPicture(name)).map((entry) => ({
    id: `${zip.name}/${entry.name}|${entry.size}|${entry.crc}`,
    name: entry.name,
    size: entry.size,
    open: () => unpack(zip, entry),
  }));
}

/** @param {File[]} files @returns {Promise<Source[]>} */
export async function sourcesOf(files) {
  const found = await Promise.all(files.map((file) => {
    const name = file.webkitRelativePath || /** @type {any} */ (file).path || file.name;
    if (ZIP.test(file.name)) return sourcesOfZip(file);
    return isPicture(name) || (file.type.startsWith('image/') && file.type !== 'image/svg+xml') ? [sourceOf(file, name)] : [];
  }));
  return found.flat();
}

/** All entries of a folder: a call gives some of them at a time. @param {FileSystemDirectoryReader} reader */
async function entriesOfFolder(reader) {
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}

/** @param {FileSystemEntry} entry @returns {Promise<File[]>} */
async function filesBelow(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    file.path = entry.fullPath.replace(/^\//, '');
    return [file];
  }
  const below = await entriesOfFolder(/** @type {FileSystemDirectoryEntry} */ (entry).createReader());
  return (await Promise.all(below.map(filesBelow))).flat();
}

/** Entries are asked for at once: they are gone when the event is over. @param {DataTransfer} data @returns {Promise<File[]>} */
export async function filesOf(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  if (!entries.length) return [...data.files];
  return (await Promise.all(entries.map(filesBelow))).flat();
}
