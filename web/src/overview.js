// Overview: the whole run on one strip, with what of it the time line shows.
import { html, useRef, useLayoutEffect, useSize, pen, colour, useState, table } from "./ui.js";
import { store } from "./store.js";
import { crowd, drawGround, scaleOf } from "./bars.js";
import { tickStep } from "./axis.js";
import { seconds, when } from "./say.js";
import { zoomed, panned } from "./zoom.js";

const HEIGHT = 58;
const CHART = 40;

export function Overview({ tree, axis, zoom }) {
  if (!axis.isEmpty) return html`<${Strip} tree=${tree} axis=${axis} zoom=${zoom} />`;
  const words = tree.steps.size < 2 ? "Nothing has happened yet."
    : "This log has no times: an earlier version wrote it.";
  return html`<p class="untimed">${words}</p>`;
}

function Strip({ tree, axis, zoom }) {
  const box = useRef(null);
  const canvas = useRef(null);
  const [brush, setBrush] = useState(null);
  const { width } = useSize(box);
  useLayoutEffect(() => {
    if (width > 0) draw(canvas.current, { tree, axis, zoom: brush ?? zoom, width });
  });
  return html`
    <div class="overview">
      <div class="strip" ref=${box} onPointerDown=${(e) => brushed(e, axis, width, setBrush)}
        onDblClick=${() => store.set({ zoom: null })}>
        <canvas ref=${canvas} style=${{ width: "100%", height: `${HEIGHT}px` }} role="img"
          aria-label=${spoken(tree, axis)}></canvas>
      </div>
      <div class="zooms" role="group" aria-label="Time line">
        <${Zoom} name="Zoom in" sign="+" to=${() => zoomed(zoom, 0.5, 0.5, axis)} />
        <${Zoom} name="Zoom out" sign="−" to=${() => zoomed(zoom, 2, 0.5, axis)} />
        <${Zoom} name="Earlier" sign="‹" to=${() => panned(zoom, -0.4, axis)} />
        <${Zoom} name="Later" sign="›" to=${() => panned(zoom, 0.4, axis)} />
        <${Zoom} name="Whole run" sign="↔" to=${() => null} />
      </div>
    </div>`;
}

function Zoom({ name, sign, to }) {
  return html`<button class="quiet" title=${name} aria-label=${name}
    onClick=${() => store.set({ zoom: to() })}>${sign}</button>`;
}

function spoken(tree, axis) {
  const gaps = axis.parts.filter((part) => part.isGap).length;
  const worked = axis.parts.filter((part) => !part.isGap);
  const time = worked.reduce((sum, part) => sum + part.to - part.from, 0);
  const from = when(tree.span?.from);
  return `Time line from ${from}: ${seconds(time)} of work, ${gaps} interruptions`;
}

/** Choose a stretch by dragging over it. */
function brushed(event, axis, width, setBrush) {
  if (event.button !== 0) return;
  const left = event.currentTarget.getBoundingClientRect().left;
  const at = (x) => Math.min(1, Math.max(0, (x - left) / width)) * axis.length;
  const start = at(event.clientX);
  let chosen = null;
  const move = (now) => {
    const end = at(now.clientX);
    chosen = [Math.min(start, end), Math.max(start, end)];
    setBrush(chosen);
  };
  const end = () => {
    removeEventListener("pointermove", move);
    setBrush(null);
    if (chosen && chosen[1] - chosen[0] > axis.length / 300) store.set({ zoom: chosen });
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end, { once: true });
}

function draw(canvas, { tree, axis, zoom, width }) {
  const ink = pen(canvas, width, HEIGHT);
  const x = scaleOf(axis, null, width);
  drawGround(ink, axis, null, width, CHART);
  drawCalls(ink, tree, x, width, axis);
  drawRoot(ink, tree, x, axis);
  drawMarks(ink, axis, width);
  drawTicks(ink, axis, width);
  if (zoom) drawBrush(ink, zoom, axis, width);
}

/** The replies of all calls: those that wait light, those that work dark. */
function drawCalls(ink, tree, x, width, axis) {
  tree.leaves ??= [...tree.steps.entries()]
    .filter(([id, step]) => step.kind === "reply" || (step.reply && step.id === id))
    .map(([, step]) => step)
    .filter((step) => !step.rlm);
  const now = axis.parts.at(-1).to;
  const { work, wait, mostWork, mostWait } = crowd(tree.leaves, x, width, now);
  const high = CHART - 10;
  ink.fillStyle = colour("call");
  for (let at = 0; at < work.length; at += 1) {
    const [waiting, working] = [(high * wait[at]) / mostWait, (high * 0.7 * work[at]) / mostWork];
    ink.globalAlpha = 0.2;
    if (wait[at]) ink.fillRect(at, high - waiting, 1, waiting);
    ink.globalAlpha = 0.9;
    if (work[at]) ink.fillRect(at, high - working, 1, working);
  }
  ink.globalAlpha = 1;
}

/** When the root model wrote, and below it when its code ran. */
function drawRoot(ink, tree, x, axis) {
  for (const step of tree.root.children) {
    if (step.kind !== "turn") continue;
    bar(ink, x, step.from, step.to, "turn", axis);
    for (const cell of step.children) {
      if (cell.kind === "cell") bar(ink, x, cell.from, cell.to, "cell", axis);
    }
  }
}

function bar(ink, x, from, to, hue, axis) {
  if (from == null) return;
  const left = x(from);
  ink.fillStyle = colour(hue);
  const [top, high] = hue === "turn" ? [CHART - 9, 5] : [CHART - 3, 3];
  ink.fillRect(left, top, Math.max(1.5, x(to ?? axis.parts.at(-1).to) - left), high);
}

/** What was between two invocations: how the first one ended, and for how long nothing worked. */
function gapWords(ended, time) {
  if (ended === "killed") return `killed, went on ${time} later`;
  if (ended === "paused") return `paused for ${time}`;
  return `next question ${time} later`;
}

const INKS = table({ killed: "bad-ink", paused: "waits-ink" });

/** How each invocation ended, where another one follows. */
function drawMarks(ink, axis, width) {
  ink.font = "600 10px sans-serif";
  let done = -Infinity;
  for (const part of axis.parts.filter(({ isGap }) => isGap)) {
    const words = gapWords(part.ended, seconds(part.to - part.from));
    const wide = ink.measureText(words).width + 6;
    const at = (part.start / axis.length) * width;
    const left = at + wide > width ? at - wide : at + 2;
    if (left < done) continue;
    done = left + wide;
    ink.fillStyle = colour("veil");
    ink.fillRect(left, 1, wide, 12);
    ink.fillStyle = colour(INKS[part.ended] ?? "soft");
    ink.fillText(words, left + 3, 10);
  }
}

function drawTicks(ink, axis, width) {
  const step = tickStep(axis.length, width / 90);
  ink.font = "10px sans-serif";
  ink.fillStyle = colour("soft");
  let worked = 0;
  for (const part of axis.parts.filter(({ isGap }) => !isGap)) {
    const first = Math.ceil(part.start / step) * step;
    for (let tick = first; tick <= part.end; tick += step) {
      const x = (tick / axis.length) * width;
      const spent = worked + tick - part.start;
      if (x < width - 24) ink.fillText(tick === 0 ? "0" : seconds(spent), x + 2, HEIGHT - 6);
    }
    worked += part.end - part.start;
  }
}

function drawBrush(ink, [from, to], axis, width) {
  const [left, right] = [(from / axis.length) * width, (to / axis.length) * width];
  ink.fillStyle = colour("veil");
  ink.fillRect(0, 0, left, CHART);
  ink.fillRect(right, 0, width - right, CHART);
  ink.fillStyle = colour("ink");
  ink.fillRect(left, 0, 1.5, CHART);
  ink.fillRect(right - 1.5, 0, 1.5, CHART);
}
