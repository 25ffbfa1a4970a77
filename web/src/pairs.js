// Pairs: the steps of two runs, aligned by their places, and what differs.
import { table } from "./ui.js";
import { isRef } from "./texts.js";

/** Fields that are compared, by kind, with their names. */
export const FIELDS = table({
  question: [["question", "Question"]],
  turn: [["thoughts", "Reasoning"], ["reply", "Reply"]],
  cell: [["code", "Code"], ["stdout", "Output"], ["value", "Value"], ["error", "Error"]],
  call: [["request", "Request"]],
  reply: [["prompt", "Prompt"], ["value", "Reply"], ["error", "Error"]],
  rlm: [["question", "Question"], ["answer", "Answer"]],
  summary: [["summary", "Summary"]],
  refused: [["answer", "Answer"], ["error", "Error"]],
  answer: [["answer", "Answer"], ["structured", "In its form"]],
  pause: [["tool", "Tool"], ["arguments", "Arguments"]],
});

/** The fields of a step: those of its record, and of the reply that is one with it. */
export function fieldsOf(step) {
  if (!step) return [];
  const own = (FIELDS[step.kind] ?? []).map(([key, name]) => [key, name, step.record[key]]);
  const more = step.reply ? FIELDS.reply.map(([key, name]) => [key, name, step.reply[key]]) : [];
  return [...own, ...more];
}

/** A value by which two texts are compared: a reference by its digest. */
export const signOf = (value) => (isRef(value) ? value.ref : JSON.stringify(value ?? null));

const sameFields = (one, other) => {
  const [left, right] = [fieldsOf(one), fieldsOf(other)];
  if (left.length !== right.length) return false;
  return left.every(([, , value], i) => signOf(value) === signOf(right[i][2]));
};

const keyOf = (step) => `${step.kind} ${step.kind === "answer" ? "" : step.record.place}`;

/** Pairs in the order of rows: {left, right, level, isSame, differs (below it, too)}. */
export function pairsOf(one, other) {
  const rows = [];
  walk(one.root, other.root, 0, rows);
  return rows;
}

function walk(left, right, level, rows) {
  let differs = false;
  for (const [a, b] of merged(left?.children ?? [], right?.children ?? [])) {
    const row = { left: a, right: b, level, isSame: Boolean(a && b) && sameFields(a, b) };
    rows.push(row);
    const below = walk(a, b, level + 1, rows);
    row.differs = !row.isSame || below;
    differs ||= row.differs;
  }
  return differs;
}

/** Children of both, in order; those with the same place stand beside each other. */
function merged(lefts, rights) {
  const places = new Map(rights.map((step, i) => [keyOf(step), i]));
  const pairs = [];
  let done = 0;
  for (const left of lefts) {
    const at = places.get(keyOf(left));
    if (at === undefined || at < done) pairs.push([left, null]);
    else {
      for (; done < at; done += 1) pairs.push([null, rights[done]]);
      pairs.push([left, rights[at]]);
      done = at + 1;
    }
  }
  for (; done < rights.length; done += 1) pairs.push([null, rights[done]]);
  return pairs;
}
