// Rows: the steps that can be seen, in order, with how deep they stand.
import { startOf } from "./texts.js";
import { table } from "./ui.js";
import { shortText } from "./plain.js";
import { count, many, seconds } from "./say.js";

/** A batch of more items than this is folded until somebody unfolds it. */
const FOLDED_FROM = 13;

const ASKED = table({
  approval: "waits for approval", external: "waits for a result", other: "waits",
});

/** Whether a step is open before anybody has said so. */
function isOpenAtFirst(step) {
  if (step.rlm) return false;
  return step.kind !== "call" || step.children.length < FOLDED_FROM;
}

export const isOpen = (step, folds) => folds.get(step.id) ?? isOpenAtFirst(step);

/** All rows that are not inside something folded. */
function rowsOf(tree, folds) {
  const rows = [];
  const stack = [];
  const push = (children, level) => {
    for (let i = children.length - 1; i >= 0; i -= 1) stack.push([children[i], level]);
  };
  push(tree.root.children, 0);
  while (stack.length) {
    const [step, level] = stack.pop();
    const open = step.children.length > 0 && isOpen(step, folds);
    rows.push({ step, level, open, index: rows.length });
    if (open) push(step.children, level + 1);
  }
  return rows;
}

let made = { tree: null, folds: null, rows: [] };

/** The rows of now, made anew only where the tree or what is folded has changed. */
export function rowsNow(tree, folds) {
  if (!tree) return [];
  if (made.tree !== tree || made.folds !== folds) made = { tree, folds, rows: rowsOf(tree, folds) };
  return made.rows;
}

/** Every step of a tree in the order of its rows, folded or not. */
export function* allSteps(tree) {
  const stack = [...tree.root.children].reverse();
  while (stack.length) {
    const step = stack.pop();
    yield step;
    for (let i = step.children.length - 1; i >= 0; i -= 1) stack.push(step.children[i]);
  }
}

/** How a step went: "bad", "waits", "open" or "". */
export function moodOf(step) {
  const record = step.reply ?? step.record;
  if (step.kind === "pause") return "waits";
  if (step.kind === "refused" || record.error || record.problem) return "bad";
  if (step.kind === "cell" && record.outcome && record.outcome !== "ok") return "bad";
  if (record.state === "failed" || record.refused) return "bad";
  if (record.state === "paused" || step.rlm?.state === "paused") return "waits";
  return record.state === "open" ? "open" : "";
}

/** The class of colour of a step. */
export function hueOf(step) {
  if (step.kind === "rlm" || step.rlm) return "rlm";
  const record = step.record;
  const call = step.kind === "reply" ? step.parent?.record.call : record.call;
  if (step.kind === "call" || step.kind === "reply") return call === "rlm" ? "rlm" : call ?? "llm";
  return step.kind;
}

/** The words of a row: a name, and what is said. */
export function wordsOf(step) {
  const { record } = step;
  const say = WORDS[step.kind];
  return say ? say(record, step) : [step.kind, ""];
}

const line = (text) => shortText(startOf(text));

const WORDS = table({
  question: (r) => [`Question ${r.number + 1}`, line(r.question)],
  turn: (r) => [`Turn ${r.number + 1}`, line(r.prose ?? (r.cells?.length ? "" : r.reply))],
  cell: (r) => [CELL_STATE[r.state] ?? "Cell", line(r.code)],
  call: (r, step) => [r.function, callWords(r, step)],
  reply: (r, step) => [
    `${count((r.item ?? 0) + 1)}`,
    line(r.error ?? r.value ?? step.rlm?.question ?? r.prompt),
  ],
  rlm: (r) => ["RLM", line(r.question)],
  pause: (r) => ["Pause", `${r.tool ?? ""} ${ASKED[r.kind] ?? ASKED.other}`],
  summary: (r) => ["Summary", line(r.summary)],
  refused: (r) => ["Refused", line(r.error)],
  answer: (r) => ["Answer", line(r.answer ?? JSON.stringify(r.structured))],
});

const CELL_STATE = table({ open: "Cell, not ended", "not run": "Cell, not run" });

function callWords(record, step) {
  if (step.reply) return line(step.reply.error ?? step.reply.value ?? step.reply.prompt);
  if (record.call === "tool" || record.call === "sql") return line(record.request);
  const failed = step.children.filter((reply) => moodOf(reply) === "bad").length;
  const parts = [`× ${count(record.items)}`];
  const left = record.items - step.children.filter((reply) => reply.to != null).length;
  if (left > 0 && step.children.length) parts.push(`${count(left)} open`);
  if (failed) parts.push(many(failed, "error"));
  return parts.join(", ");
}

/** The right end of a row: how long it took. */
export function tailOf(step) {
  const record = step.reply ?? step.record;
  if (step.kind === "call" && !step.reply) {
    return step.from != null && step.to != null ? seconds(step.to - step.from) : "";
  }
  return record.seconds == null ? "" : seconds(record.seconds);
}
