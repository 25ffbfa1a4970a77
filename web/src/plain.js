// Plain: text as text. Characters that turn, hide or control what stands around them are shown as
// marks, so that what a model or a document wrote cannot look like something else.
import { html } from "./ui.js";

/** Controls but tab and line feed, bidi controls, line and paragraph separators, tag characters. */
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

const codeOf = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** A text as nodes: strings, and a mark for each character that cannot be seen. */
export function plain(text) {
  const string = String(text ?? "").replaceAll("\r\n", "\n");
  if (string.search(HIDDEN) < 0) return string;
  const nodes = [];
  let done = 0;
  for (const match of string.matchAll(HIDDEN)) {
    if (match.index > done) nodes.push(string.slice(done, match.index));
    nodes.push(html`<span class="mark">${codeOf(match[0])}</span>`);
    done = match.index + match[0].length;
  }
  nodes.push(string.slice(done));
  return nodes;
}

/** The start of a text on one line, for rows and titles; marks are written out. */
export function shortText(text, most = 160) {
  const start = String(text ?? "").slice(0, most * 2).replace(/\s+/g, " ").trim();
  return start.replace(HIDDEN, (char) => `⟨${codeOf(char)}⟩`).slice(0, most);
}
