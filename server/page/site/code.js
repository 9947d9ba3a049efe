/** The same request as a command and as a program, to copy. */
import { BASE, key } from './api.js';
import { button, h, say } from './dom.js';
import { t } from './i18n.js';
import { tabs } from './tabs.js';

/** @typedef {{name: string, fields: Record<string, unknown>}} Asked the picture's name, and what the request says beside it */
/** @typedef {Record<'curl' | 'python', (asked: Asked) => string>} Code of a route */

/** A word of a shell. @param {string} text */
export const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The lines of a command that asks a route, without what is sent. @param {string} route */
export const curl = (route) => [`curl ${quote(new URL(route, BASE).href)}`, ...(key() ? ['-H "Authorization: Bearer $LIMOE_KEY"'] : [])];

/** A program that has the request; its answer is read by what comes behind. Strings and lists of JSON are Python's, too. @param {string} route @param {Asked} asked */
export function python(route, { name, fields }) {
  const rows = Object.entries(fields).map(([field, value]) => `    ${JSON.stringify(field)}: ${value === true ? 'True' : JSON.stringify(value)},\n`).join('');
  const auth = key() ? ', "Authorization": "Bearer " + os.environ["LIMOE_KEY"]' : '';
  return `import base64, json${key() ? ', os' : ''}, urllib.request\n\npicture = open(${JSON.stringify(name)}, "rb").read()\nbody = {\n    "image": base64.b64encode(picture).decode(),\n${rows}}\n`
    + `request = urllib.request.Request(\n    ${JSON.stringify(new URL(route, BASE).href)},\n    json.dumps(body).encode(),\n    {"Content-Type": "application/json"${auth}},\n)\n`;
}

/** @type {Code} of /v1/classify */
export const classifyCode = {
  curl({ name: file, fields }) {
    const name = /^[\w.-]+$/.test(file) ? file : `"${file.replace(/["\\]/g, '\\$&')}"`;
    const parts = Object.entries(fields).map(([field, value]) =>
      `--form-string ${quote(`${field}=${typeof value === 'string' ? value : JSON.stringify(value)}`)}`);
    return [...curl('v1/classify'), `-F ${quote(`image=@${name}`)}`, ...parts].join(' \\\n  ');
  },
  python: (asked) => python('v1/classify', asked)
    + 'for answer in json.load(urllib.request.urlopen(request))["data"]:\n    for found in answer["predictions"]:\n        print(f\'{found["score"]:.3f}  {found["label"]}\')\n',
};

/** @param {HTMLElement} from */
async function copy(from) {
  const text = from.textContent || '';
  if (navigator.clipboard) await navigator.clipboard.writeText(text).catch(() => select(from));
  else select(from);
  say(t('code.copied'));
}

/** Without the clipboard, which pages without TLS do not have. @param {HTMLElement} from */
function select(from) {
  getSelection()?.selectAllChildren(from);
  document.execCommand('copy');
}

/** @param {Code} make @returns {{element: HTMLElement, show: (asked: Asked) => void}} */
export function codeView(make) {
  const panes = Object.keys(make).map((name) => {
    const text = h('pre', { tabindex: '0', label: `code.${name}`, role: 'region' });
    return { name, text, panel: h('div', { class: 'code' }, text, button('code.copy', () => copy(text), { class: 'copy' })) };
  });
  const { list } = tabs({ words: 'code', label: 'code.label', tabs: panes });
  return {
    element: h('details', { class: 'card' }, h('summary', { text: 'code.label' }), list, ...panes.map(({ panel }) => panel)),
    show: (asked) => panes.forEach(({ name, text }) => { text.textContent = make[/** @type {keyof typeof make} */ (name)](asked); }),
  };
}
