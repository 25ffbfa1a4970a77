// Answer: the answer's text, in which each checked quote leads to its place in the source.
import { html, cls, table } from "./ui.js";
import { store } from "./store.js";
import { plain } from "./plain.js";
import { useText, Long } from "./long.js";
import { startOf } from "./texts.js";
import { percent } from "./say.js";

const STATUS = table({ exact: "verified", near: "near", not_found: "not found in the contexts" });

export function Answer({ about, isAll }) {
  if (about.answer == null || about.answer === "") {
    return html`<${Long} text=${JSON.stringify(about.structured, null, 2)} language="json" />`;
  }
  const [whole] = useText(about.answer);
  const text = whole ?? startOf(about.answer);
  if (!isAll && text.length > 1200) return html`<p>${withQuotes(text.slice(0, 1200), about)} …</p>`;
  return html`<p>${withQuotes(text, about)}</p>`;
}

/** The text with its quotes as buttons. */
function withQuotes(text, about) {
  const found = (about.quotes ?? []).map((quote) => ({ quote, ...spanOf(text, quote) }));
  const spans = found.filter(({ from }) => from >= 0).sort((a, b) => a.from - b.from);
  const nodes = [];
  let done = 0;
  for (const { quote, from, to } of spans) {
    if (from < done) continue;
    nodes.push(plain(text.slice(done, from)));
    nodes.push(html`<${Quote} quote=${quote} text=${text.slice(from, to)} />`);
    done = to;
  }
  nodes.push(plain(text.slice(done)));
  return nodes;
}

/** Where a quote stands in the answer. Python counts characters, JavaScript halves of pairs. */
function spanOf(text, quote) {
  const at = text.indexOf(quote.text);
  if (quote.answer_start == null || at < 0) return { from: at, to: at + quote.text.length };
  const near = text.indexOf(quote.text, Math.max(0, quote.answer_start - 2));
  const from = near < 0 ? at : near;
  return { from, to: from + quote.text.length };
}

function Quote({ quote, text }) {
  const digest = quote.digest ?? quote.context;
  const near = quote.status === "near" ? `, ${percent(quote.similarity ?? 0)} the same` : "";
  const words = `${STATUS[quote.status] ?? quote.status}${near}`;
  if (quote.status === "not_found" || quote.start == null) {
    return html`<span class="quote not_found" title=${words}>${plain(text)}
      <span class="verdict">${words}</span></span>`;
  }
  const there = { view: "coverage", region: { digest, at: quote.start, quote } };
  const go = (event) => {
    event.preventDefault();
    store.set(there);
  };
  // A link and no button: a quote runs over the ends of lines.
  return html`<a class=${cls("quote", quote.status)} title=${`${words}: show the source`}
    href=${store.hash({ ...store.state, ...there })} onClick=${go}>${plain(text)}<span
    class="verdict">${words}</span></a>`;
}
