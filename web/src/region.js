// Region: one place of a context: what is known of it, who touched it, and the text that stands there.
import { html, useEffect, useRef, useState, cls } from "./ui.js";
import { store } from "./store.js";
import { plain, shortText } from "./plain.js";
import { bytes, count, percent } from "./say.js";
import { cutsOf, rangeAt } from "./ranges.js";
import { stateAt } from "./coverage.js";
import { wordsOf } from "./rows.js";

const [BEFORE, AFTER] = [1_200, 3_600];
const MOST_CALLS = 200;

/** Bytes of contexts that are in the page, by digest. */
const encoded = new Map();

/** The text of a range of bytes. */
async function textOf(digest, start, end) {
  const here = store.trace.texts.now({ ref: digest });
  if (here === undefined) {
    if (store.live) return store.live.contextText(digest, start, end);
    throw new Error("This file does not hold the context: it was made without, or it was too large.");
  }
  if (!encoded.has(digest)) encoded.set(digest, new TextEncoder().encode(here));
  return new TextDecoder().decode(encoded.get(digest).subarray(start, end));
}

export function Region({ map, region }) {
  const from = Math.max(0, region.at - BEFORE);
  const to = Math.min(map.size, region.at + AFTER);
  const move = (by) => store.set({
    region: { digest: map.digest, at: Math.min(map.size - 1, Math.max(0, region.at + by)) },
  });
  return html`
    <div class="region">
      <div class="source">
        <p class="note"><b>Byte ${count(region.at)}</b>: ${stateAt(map, region.at)}.
          ${region.quote && html`<br />${quoteWords(region.quote)}`}</p>
        <${Source} map=${map} from=${from} to=${to} at=${region.at} quote=${region.quote} />
        <p><button onClick=${() => move(-BEFORE - AFTER)} disabled=${from === 0}>Earlier</button>
          ${" "}<button onClick=${() => move(BEFORE + AFTER)} disabled=${to === map.size}>Later</button>
          ${" "}<span class="note">Bytes ${count(from)} to ${count(to)} of ${bytes(map.size)}</span></p>
      </div>
      <${Touched} map=${map} at=${region.at} />
    </div>`;
}

function quoteWords(quote) {
  if (quote.status === "exact") return "The answer's quote stands here word for word.";
  return `The answer's quote is ${percent(quote.similarity ?? 0)} the same as what stands here.`;
}

function Source({ map, from, to, at, quote }) {
  const box = useRef(null);
  const [got, setGot] = useState({ text: null, problem: null });
  useEffect(() => {
    let isOld = false;
    textOf(map.digest, from, to).then(
      (text) => isOld || setGot({ text, problem: null }),
      (error) => isOld || setGot({ text: null, problem: error.message }),
    );
    return () => (isOld = true);
  }, [map.digest, from, to]);
  useEffect(() => {
    const mark = box.current?.querySelector("[data-here]");
    if (mark) box.current.scrollTop = mark.offsetTop - box.current.offsetTop - 60;
  }, [got.text, at]);
  if (got.problem) return html`<p class="problem">${plain(got.problem)}</p>`;
  if (got.text === null) return html`<p class="hint">Loading …</p>`;
  return html`<pre class="text" ref=${box} tabindex="0" role="region" aria-label="Source text"
    dir="auto">${pieces(map, got.text, { from, to, at, quote })}</pre>`;
}

/** The text in pieces, each with one state. */
function pieces(map, text, { from, to, at, quote }) {
  const raw = new TextEncoder().encode(text);
  const decode = new TextDecoder();
  const quoted = quote ? [[quote.start, quote.end]] : [];
  const kinds = [map.seen ?? [], map.read ?? [], quoted, [[at, at]]];
  const cuts = cutsOf(kinds, from, to);
  const isHere = (start) => start <= at && (quote || start === at);
  let here = cuts.findLastIndex(isHere);
  return cuts.slice(0, -1).map((start, i) => {
    const piece = decode.decode(raw.subarray(start - from, cuts[i + 1] - from), { stream: true });
    const isSeen = rangeAt(map.seen ?? [], start);
    const unseen = map.seen_share == null ? "" : "p-never";
    const names = cls(
      isSeen ? "p-seen" : unseen, rangeAt(map.read ?? [], start) && "p-read",
      rangeAt(quoted, start) && "p-quote",
    );
    return html`<span class=${names} data-here=${i === here ? "" : null}>${plain(piece)}</span>`;
  });
}

/** The calls and turns that touched a byte. */
function Touched({ map, at }) {
  const all = (map.by ?? []).filter(({ range }) => range[0] <= at && at < range[1]);
  const { tree } = store.trace;
  if (!all.length) return html`<div class="touched"><h4>Nothing touched it</h4></div>`;
  return html`<div class="touched"><h4>Who touched it</h4><ul class="plain">
    ${all.slice(0, MOST_CALLS).map(({ rlm, place, kind, how }) => {
      const step = tree.at(rlm ?? tree.root.rlm?.rlm, place);
      const words = step ? wordsOf(step).join(" ") : place;
      return html`<li><span class="note">${plain(kind ?? how ?? "")}</span>
        ${" "}<button class="link" disabled=${!step} onClick=${() => store.pick(step.id)}>
          ${plain(place)} ${plain(shortText(words, 70))}</button></li>`;
    })}</ul>
    ${all.length > MOST_CALLS && html`<p class="hint">${count(all.length - MOST_CALLS)} more.</p>`}
  </div>`;
}
