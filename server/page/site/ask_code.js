/** A question as a command and as a program, whose answers come as they are written. */
import { curl, python, quote } from './code.js';

/** The command reads the picture from its input: as an argument it could be too long.
 * @type {import('./code.js').Code} */
export const askCode = {
  curl({ name, fields }) {
    const before = `${JSON.stringify(fields).slice(0, -1)},"image":"`;
    const send = [...curl('v1/ask'), '-N', '-H "Content-Type: application/json"', '-d @-'].join(' \\\n  ');
    return `{ printf %s ${quote(before)}; base64 <${quote(name)} | tr -d '\\n'; printf '"}'; } | \\\n${send}`;
  },
  python: (asked) => python('v1/ask', asked)
    + 'for line in urllib.request.urlopen(request):\n    if line.startswith(b"data: {"):\n        event = json.loads(line[6:])\n'
    + '        print(event.get("text", event.get("error", "")), end="", flush=True)\nprint()\n',
};
