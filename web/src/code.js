// Code: tokens of Prism as nodes. No markup is made of text.
import "./prism_first.js";
import Prism from "prismjs/components/prism-core.js";
import "prismjs/components/prism-markup.js";
import "prismjs/components/prism-markdown.js";
import "prismjs/components/prism-python.js";
import "prismjs/components/prism-json.js";
import "prismjs/components/prism-sql.js";
import { html } from "./ui.js";
import { plain } from "./plain.js";

/** Longer texts are shown without colours: a highlighter takes its time. */
const MOST = 50_000;

/** A text as coloured nodes; `language` is one of python, json, markdown, sql. */
export function coloured(text, language) {
  const grammar = Prism.languages[language];
  if (!grammar || text.length > MOST) return plain(text);
  return Prism.tokenize(text, grammar).map(nodeOf);
}

function nodeOf(token) {
  if (typeof token === "string") return plain(token);
  const inside = Array.isArray(token.content) ? token.content.map(nodeOf) : nodeOf(token.content);
  return html`<span class=${`t-${token.type}`}>${inside}</span>`;
}
