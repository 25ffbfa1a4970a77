// Coverage: a map of each context, of what models saw and what they never did.
import { html, useRef, useLayoutEffect, useSize, pen, colour } from "./ui.js";
import { store } from "./store.js";
import { plain } from "./plain.js";
import { bytes, count, many, percent } from "./say.js";
import { gapsOf, pixelsOf, rangeAt, sizeOf } from "./ranges.js";
import { Region } from "./region.js";

const HEIGHT = 52;
/** The lanes under the strip: name, colour, top. */
const LANES = [["shown", "turn", 28], ["sent", "call", 36], ["read", "tool", 44]];

export function Coverage({ trace, region, theme }) {
  const maps = trace.tree.coverage;
  if (!maps.length) {
    return html`<section class="page" aria-label="Coverage"><h2>Coverage</h2>
      <p class="hint">${trace.tree.hasContexts
        ? "What models have seen of the contexts is not computed here, or not yet."
        : "This run had no contexts."}</p></section>`;
  }
  return html`
    <section class="page coverage" aria-label="Coverage">
      <h2>What of each context a model has seen</h2>
      <${Legend} />
      ${maps.map((map) => html`<${ContextMap} key=${`${map.id} ${theme}`} map=${map}
        region=${region?.digest === map.digest ? region : null} />`)}
    </section>`;
}

function Legend() {
  return html`<ul class="legend">
    <li><i class="sw seen"></i>seen by a model</li><li><i class="sw never"></i>never seen</li>
    <li><i class="sw shown"></i>shown to a root model</li>
    <li><i class="sw sent"></i>sent to a sub-call</li><li><i class="sw read"></i>read by code</li>
  </ul>`;
}

function ContextMap({ map, region }) {
  const seen = map.seen ?? [];
  const share = map.seen_share;
  return html`
    <article class="map" aria-label=${`Context ${map.name}`}>
      <header><h3>${plain(map.name)}</h3>
        <span class="note">${bytes(map.size)}, ${plain(map.kind ?? "text")}</span>
        <b class="share">${share == null ? "how much was seen is not known"
          : `${percent(share)} seen by models`}</b></header>
      ${map.whole && html`<p class="hint">Code had this context as a variable and used it as a
        whole: what code read of it is not known. What was sent and shown is known by its text.</p>`}
      <${Strip} map=${map} seen=${seen} at=${region?.at} />
      ${share != null && html`<${Never} map=${map} seen=${seen} region=${region} />`}
      ${region && html`<${Region} key=${map.digest} map=${map} region=${region} />`}
    </article>`;
}

const show = (map, at) => store.set({ region: { digest: map.digest, at: Math.max(0, at) } });

function Strip({ map, seen, at }) {
  const box = useRef(null);
  const canvas = useRef(null);
  const { width } = useSize(box);
  useLayoutEffect(() => {
    if (width) draw(canvas.current, { map, seen, at, width });
  });
  const pick = (event) => {
    const left = event.currentTarget.getBoundingClientRect().left;
    show(map, Math.floor(((event.clientX - left) / width) * map.size));
  };
  const keys = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    const to = { Home: 0, End: map.size - 1 }[event.key];
    if (by === undefined && to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const next = to ?? (at ?? 0) + by * Math.max(1, Math.round(map.size / 100));
    show(map, Math.min(map.size - 1, Math.max(0, next)));
  };
  return html`<div class="strip" ref=${box} onClick=${pick} onKeyDown=${keys} role="slider"
      tabindex="0" aria-label=${`Place in ${map.name}, in bytes`} aria-valuemin="0"
      aria-valuemax=${map.size} aria-valuenow=${at ?? 0} aria-valuetext=${spoken(map, at)}>
    <canvas ref=${canvas} style=${{ width: "100%", height: `${HEIGHT}px` }}></canvas></div>`;
}

function spoken(map, at) {
  if (at == null) return "no place chosen";
  return `byte ${count(at)}, ${stateAt(map, at)}`;
}

/** What is known of one byte, in words. */
export function stateAt(map, at) {
  const kinds = ["shown", "sent", "read"].filter((kind) => rangeAt(map[kind] ?? [], at));
  if (rangeAt(map.seen ?? [], at)) return kinds.length ? kinds.join(", ") : "seen by a child's model";
  if (map.seen_share == null) return [...kinds, "whether a model saw it is not known"].join(", ");
  return kinds.length ? `${kinds.join(", ")}, never seen by a model` : "never seen by a model";
}

function draw(canvas, { map, seen, at, width }) {
  const ink = pen(canvas, width, HEIGHT);
  const isKnown = map.seen_share != null;
  ink.fillStyle = colour(isKnown ? "never" : "hair");
  ink.fillRect(0, 0, width, 24);
  paint(ink, pixelsOf(seen, map.size, width), 0, 24, "seen");
  for (const [kind, hue, top] of LANES) {
    ink.fillStyle = colour("hair");
    ink.fillRect(0, top, width, 5);
    paint(ink, pixelsOf(map[kind] ?? [], map.size, width), top, 5, hue);
  }
  if (at == null) return;
  const x = (at / map.size) * width;
  ink.fillStyle = colour("ink");
  ink.fillRect(Math.round(x) - 1, 0, 2, HEIGHT);
}

/** Fill pixels by how much of each is covered. What is covered at all can be seen. */
function paint(ink, shares, top, height, hue) {
  ink.fillStyle = colour(hue);
  shares.forEach((share, x) => {
    if (share <= 0) return;
    ink.globalAlpha = Math.min(1, 0.35 + 0.65 * share);
    ink.fillRect(x, top, 1, height);
  });
  ink.globalAlpha = 1;
}

/** The stretches that no model saw, and a way through them. */
function Never({ map, seen, region }) {
  const gaps = gapsOf(seen, map.size);
  if (!gaps.length) return html`<p class="hint">A model has seen every byte of it.</p>`;
  const at = region?.at ?? -1;
  const next = gaps.find(([start]) => start > at) ?? gaps[0];
  const before = gaps.findLast(([, end]) => end <= at) ?? gaps.at(-1);
  return html`<p class="hint">Never seen: ${bytes(sizeOf(gaps))} in
    ${" "}${many(gaps.length, "stretch", "stretches")}.
    ${" "}<button class="link" onClick=${() => show(map, before[0])}>Previous</button>
    ${" "}<button class="link" onClick=${() => show(map, next[0])}>Next</button></p>`;
}
