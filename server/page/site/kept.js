/** What the browser keeps of settings. One that keeps nothing for pages forgets them when the page is left. */

/** @param {() => Storage} storage asked for in a function: asking alone may be refused */
function keeper(storage) {
  /** @type {Map<string, string>} */
  const here = new Map();
  return {
    /** @param {string} name */
    get(name) {
      try {
        return storage().getItem(name) ?? '';
      } catch {
        return here.get(name) ?? '';
      }
    },
    /** @param {string} name @param {string} value '' forgets it */
    set(name, value) {
      here.set(name, value);
      try {
        if (value) storage().setItem(name, value);
        else storage().removeItem(name);
      } catch { /* it is in `here` */ }
    },
  };
}

/** Until the browser's tab is closed. */
export const session = keeper(() => sessionStorage);
/** For good. */
export const always = keeper(() => localStorage);
