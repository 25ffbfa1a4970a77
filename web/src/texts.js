// Texts behind references: in the page already, or fetched when they are first wanted.

/** Whether a value is a text by reference. */
export const isRef = (text) => text !== null && typeof text === "object" && "ref" in text;

/** What is known of a text without fetching anything. */
export const startOf = (text) => (isRef(text) ? text.start ?? "" : text ?? "");

/** How many characters a text has. */
export const lengthOf = (text) => (isRef(text) ? text.chars : (text ?? "").length);

/** A JSON string where a value is one, and indented JSON otherwise. */
export function shown(value) {
  return typeof value === "string" || isRef(value) ? value : JSON.stringify(value, null, 2);
}

export class Texts {
  /**
   * @param known texts by digest.
   * @param fetchText `async (digest) => string`, or null where nothing can be fetched.
   */
  constructor(known = {}, fetchText = null) {
    this.known = new Map(Object.entries(known));
    this.fetchText = fetchText;
    this.asked = new Map();
    this.lower = new Map();
  }

  /** The text if it is here, else undefined. */
  now(text) {
    if (!isRef(text)) return text ?? "";
    return this.known.get(text.ref);
  }

  /** The text, fetched if need be. Rejects with a reason in words. */
  async whole(text) {
    const here = this.now(text);
    if (here !== undefined) return here;
    if (!this.fetchText) throw new Error("This file does not hold this text.");
    if (!this.asked.has(text.ref)) {
      const asked = this.fetchText(text.ref).then((got) => {
        this.known.set(text.ref, got);
        return got;
      });
      this.asked.set(text.ref, asked.finally(() => this.asked.delete(text.ref)));
    }
    return this.asked.get(text.ref);
  }

  /** What is here of a text, in lower case, for searching. Long ones are kept. */
  searched(text) {
    if (!isRef(text)) return String(text ?? "").toLowerCase();
    const whole = this.known.get(text.ref);
    if (whole === undefined) return startOf(text).toLowerCase();
    if (!this.lower.has(text.ref)) this.lower.set(text.ref, whole.toLowerCase());
    return this.lower.get(text.ref);
  }
}
