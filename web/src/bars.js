// Bars: when each step was, on a canvas. Light is waiting, dark is working.
import { pen, colour, table } from "./ui.js";
import { hueOf, moodOf } from "./rows.js";
import { tickStep } from "./axis.js";
import { ROW } from "./virtual.js";

const HUES = table({
  question: "ink", turn: "turn", cell: "cell", llm: "call", rlm: "rlm", tool: "tool", sql: "sql",
  summary: "soft", refused: "bad", pause: "waits", answer: "ink",
});

/** Colours of the line where an invocation ended and another one follows. */
const ENDS = table({ killed: "bad", paused: "waits" });

/** A function from epoch seconds to pixels. */
export function scaleOf(axis, zoom, width) {
  const [from, to] = zoom ?? [0, axis.length];
  const factor = width / (to - from || 1);
  return (at) => (axis.fold(at) - from) * factor;
}

/** Draw the bars of rows that stand one under the other. */
export function drawBars(canvas, { rows, axis, zoom, pick, width, height }) {
  const ink = pen(canvas, width, height);
  if (axis.isEmpty) return;
  const x = scaleOf(axis, zoom, width);
  drawGround(ink, axis, zoom, width, height);
  rows.forEach(({ step, open }, i) => {
    const y = i * ROW;
    if (step.id === pick) {
      ink.fillStyle = colour("picked");
      ink.fillRect(0, y, width, ROW);
    }
    drawStep(ink, { step, open, x, y, width, now: axis.parts.at(-1).to });
  });
}

/** Lines of the scale, hatched gaps, and marks where the run was killed or paused. */
export function drawGround(ink, axis, zoom, width, height) {
  const [from, to] = zoom ?? [0, axis.length];
  const step = tickStep(to - from, width / 90);
  const px = (folded) => ((folded - from) / (to - from)) * width;
  ink.fillStyle = colour("hair");
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
    ink.fillRect(Math.round(px(tick)), 0, 1, height);
  }
  for (const part of axis.parts) {
    if (!part.isGap) continue;
    hatch(ink, px(part.start), px(part.end), height);
    ink.fillStyle = colour(ENDS[part.ended] ?? "soft");
    ink.fillRect(Math.round(px(part.start)), 0, 1.5, height);
  }
}

function hatch(ink, left, right, height) {
  ink.save();
  ink.beginPath();
  ink.rect(left, 0, right - left, height);
  ink.clip();
  ink.fillStyle = colour("ground");
  ink.fillRect(left, 0, right - left, height);
  ink.strokeStyle = colour("line");
  ink.lineWidth = 1;
  ink.beginPath();
  for (let at = left - height; at < right; at += 6) {
    ink.moveTo(at, height);
    ink.lineTo(at + height, 0);
  }
  ink.stroke();
  ink.restore();
}

function drawStep(ink, { step, open, x, y, width, now }) {
  if (step.from == null && step.to == null) return;
  const hue = moodOf(step) === "bad" ? "bad" : HUES[hueOf(step)] ?? "soft";
  const isBatch = step.kind === "call" && step.children.length > 0;
  const [from, to] = [x(step.from ?? step.to), x(step.to ?? now)];
  if (to < -4 || from - width > 4) return;
  if (isBatch && !open) drawCrowd(ink, step.children, { x, y, width, now, hue });
  else if (isBatch || step.kind === "cell") drawSpan(ink, from, to, y, hue);
  else if (step.from === step.to) drawPoint(ink, from, y, hue);
  else {
    const waits = x(step.from - step.waited);
    ink.fillStyle = colour(hue);
    ink.globalAlpha = 0.28;
    ink.fillRect(waits, y + 10, Math.max(0, from - waits), ROW - 20);
    ink.globalAlpha = step.to == null ? 0.5 : 1;
    ink.fillRect(from, y + 7, Math.max(2, to - from), ROW - 14);
    ink.globalAlpha = 1;
    if (step.rlm && !open) drawInside(ink, step, { x, y });
  }
}

/** A bracket over what stands inside, which has bars of its own. */
function drawSpan(ink, from, to, y, hue) {
  ink.fillStyle = colour(hue);
  ink.globalAlpha = 0.75;
  ink.fillRect(from, y + 12, Math.max(2, to - from), 2);
  ink.fillRect(from, y + 9, 1.5, 8);
  ink.fillRect(Math.max(from, to - 1.5), y + 9, 1.5, 8);
  ink.globalAlpha = 1;
}

function drawPoint(ink, at, y, hue) {
  ink.fillStyle = colour(hue);
  ink.beginPath();
  ink.moveTo(at, y + 8);
  ink.lineTo(at + 5, y + 13);
  ink.lineTo(at, y + 18);
  ink.lineTo(at - 5, y + 13);
  ink.fill();
}

/** The turns of a folded child RLM, as notches in its bar. */
function drawInside(ink, step, { x, y }) {
  ink.fillStyle = colour("ground");
  for (const { kind, from } of step.children) {
    if (kind === "turn" && from != null) ink.fillRect(x(from), y + 8, 1, ROW - 16);
  }
}

/** How many steps of a folded batch worked at each pixel, dark, and behind it how many waited,
 * light; each by the most of its own kind, since often thousands wait while a few work. */
function drawCrowd(ink, steps, { x, y, width, now, hue }) {
  const { work, wait, mostWork, mostWait } = crowd(steps, x, width, now);
  const high = ROW - 6;
  ink.fillStyle = colour(hue);
  for (let at = 0; at < work.length; at += 1) {
    const [waiting, working] = [(high * wait[at]) / mostWait, (high * 0.62 * work[at]) / mostWork];
    ink.globalAlpha = 0.22;
    if (wait[at]) ink.fillRect(at, y + ROW - 3 - waiting, 1, waiting);
    ink.globalAlpha = 1;
    if (work[at]) ink.fillRect(at, y + ROW - 3 - Math.max(1, working), 1, Math.max(1, working));
  }
}

/** Counts by pixel: of steps that work and of steps that wait, and the most of each. */
export function crowd(steps, x, width, now) {
  const pixels = Math.max(1, Math.ceil(width));
  const [work, wait] = [new Float64Array(pixels + 1), new Float64Array(pixels + 1)];
  const put = (counts, from, to) => {
    const [start, end] = [Math.floor(Math.max(0, from)), Math.ceil(Math.min(pixels, to))];
    if (end <= start) return;
    counts[start] += 1;
    counts[end] -= 1;
  };
  for (const step of steps) {
    if (step.from == null) continue;
    const from = x(step.from);
    put(work, from, Math.max(from + 1, x(step.to ?? now)));
    if (step.waited) put(wait, x(step.from - step.waited), from);
  }
  let [mostWork, mostWait] = [1, 1];
  for (let at = 0; at < pixels; at += 1) {
    work[at] += work[at - 1] ?? 0;
    wait[at] += wait[at - 1] ?? 0;
    mostWork = Math.max(mostWork, work[at]);
    mostWait = Math.max(mostWait, wait[at]);
  }
  return { work: work.subarray(0, pixels), wait: wait.subarray(0, pixels), mostWork, mostWait };
}
