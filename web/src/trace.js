// Trace: the records of one run, and the tree of steps that they make.
//
// A step is what has a row of its own. A call of one item and its reply are one step; a child RLM
// is one step with the reply that it gives. Records come in any order, and newer ones replace.
import { byPlace, outer } from "./places.js";

/** Kinds of records that stand in the tree as steps. */
const IN_TREE = new Set(["question", "turn", "cell", "call", "reply", "pause", "summary", "refused"]);

/** Where in its RLM a step comes that is neither in a turn nor a turn itself. */
const RANK = { question: 0, summary: 1, turn: 2, refused: 3 };

export class Trace {
  constructor(texts) {
    this.texts = texts;
    this.records = new Map();
    this.version = 0;
    this.made = null;
  }

  /** Take records: each replaces the one with its id. */
  put(records) {
    for (const record of records) this.records.set(record.id, record);
    this.changed();
  }

  drop(ids) {
    for (const id of ids) this.records.delete(id);
    this.changed();
  }

  changed() {
    this.version += 1;
    this.made = null;
  }

  /** What is derived from the records, made anew after a change. */
  get tree() {
    this.made ??= new Tree(this.records);
    return this.made;
  }

  get about() {
    return this.records.get("trace") ?? { type: "trace", runs: [], limits: {}, models: [] };
  }
}

/** One row's worth: its record, what hangs on it, and when it was. */
class Step {
  constructor(kind, record) {
    this.kind = kind;
    this.record = record;
    this.id = record.id;
    this.parent = null;
    this.children = [];
    this.reply = null;
    this.rlm = null;
    this.from = null;
    this.to = null;
    this.waited = 0;
  }

  add(step) {
    step.parent = this;
    this.children.push(step);
  }
}

export class Tree {
  constructor(records) {
    this.records = records;
    this.steps = new Map();
    this.byPlace = new Map();
    this.rlms = new Map();
    this.series = [];
    this.coverage = [];
    this.roots = [];
    this.root = null;
    this.sort();
    this.nest();
    this.time();
  }

  /** The step at a place of an RLM, or undefined. */
  at(rlm, place) {
    return this.byPlace.get(`${rlm} ${place}`);
  }

  /** Whether any question of the root came with contexts. */
  get hasContexts() {
    return this.root.children.some(
      ({ kind, record }) => kind === "question" && record.contexts?.length > 0,
    );
  }

  /** What to show before anything is picked: the newest open pause, or the answer. */
  get first() {
    const pause = this.pauses.at(-1);
    return pause?.id ?? this.root.children.findLast(({ kind }) => kind === "answer")?.id ?? null;
  }

  /** The share of all contexts that models have seen; null where it is not known of one. */
  get seenShare() {
    const sizes = this.coverage.map(({ size, seen_share: share }) => [size, share]);
    if (!sizes.length || sizes.some(([, share]) => share == null)) return null;
    const all = sizes.reduce((sum, [size]) => sum + size, 0);
    return all ? sizes.reduce((sum, [size, share]) => sum + size * share, 0) / all : null;
  }

  /** The step that shows a record, by the record's id. */
  of(id) {
    return this.steps.get(id);
  }

  sort() {
    this.pauses = [];
    for (const record of this.records.values()) {
      if (record.type === "rlm") this.rlms.set(record.rlm ?? record.id.slice(4), record);
      else if (record.type === "spent") this.series.push(...pointsOf(record));
      else if (record.type === "coverage") this.coverage.push(record);
      else if (record.type === "pause") this.pauses.push(record);
      else if (IN_TREE.has(record.type)) this.enter(new Step(record.type, record));
    }
    this.series.sort((one, other) => one.at - other.at);
  }

  enter(step) {
    this.steps.set(step.id, step);
    this.byPlace.set(`${step.record.rlm} ${step.record.place}`, step);
  }

  nest() {
    const tops = this.hangInTurns();
    this.mergeSingles();
    for (const [id, steps] of tops) {
      steps.sort(inRlm);
      this.hang(id, steps);
    }
    this.gatherRoots();
    this.hangPauses();
    for (const step of this.steps.values()) {
      if (step.kind === "turn" || step.kind === "cell" || step.kind === "call") order(step);
    }
  }

  /** Hang cells in turns, calls in cells and replies in calls. Gives the others, by RLM. */
  hangInTurns() {
    const tops = new Map([...this.rlms.keys()].map((id) => [id, []]));
    for (const step of this.steps.values()) {
      const { rlm, place } = step.record;
      const inside = step.kind in RANK ? null : this.above(rlm, place);
      if (inside) inside.add(step);
      else if (tops.has(rlm)) tops.get(rlm).push(step);
      else tops.set(rlm, [step]);
    }
    return tops;
  }

  /** The nearest step around a place. */
  above(rlm, place) {
    for (let at = outer(String(place)); at !== null; at = outer(at)) {
      const step = this.at(rlm, at);
      if (step) return step;
    }
    return null;
  }

  /** A call of one item and its reply are one step. */
  mergeSingles() {
    for (const call of [...this.steps.values()]) {
      if (call.kind !== "call" || call.record.items !== 1 || call.children.length !== 1) continue;
      const [reply] = call.children;
      if (reply.kind !== "reply") continue;
      call.reply = reply.record;
      call.children = [];
      this.steps.set(reply.id, call);
      this.byPlace.set(`${reply.record.rlm} ${reply.record.place}`, call);
    }
  }

  /** Hang the steps of an RLM on the reply that it gives; the root's on the root. */
  hang(id, steps) {
    const record = this.rlms.get(id) ?? { type: "rlm", id: `rlm:${id}`, rlm: id, parent: null };
    const asked = record.parent == null ? null : this.at(record.parent, record.parent_place);
    const holder = asked ?? new Step("rlm", record);
    holder.rlm = record;
    for (const step of steps) holder.add(step);
    this.steps.set(record.id, holder);
    if (asked) return;
    this.addAnswer(holder, record);
    const around = record.parent == null ? null : this.above(record.parent, record.parent_place);
    if (around) around.add(holder);
    else this.roots.push(holder);
  }

  /** The steps of the root RLM are at the top. A larger graph may have had several roots: those of
   * before are steps of their own, above them. */
  gatherRoots() {
    const named = this.records.get("trace")?.root;
    const own = this.roots.find((step) => step.rlm.rlm === named) ?? this.roots.at(-1);
    this.root = own ?? new Step("rlm", { type: "rlm", id: "rlm:", state: "running" });
    const others = this.roots.filter((step) => step !== own);
    for (const step of others) step.parent = this.root;
    this.root.children.unshift(...others);
  }

  /** The root's answer is a step of its own; a child's is its reply. */
  addAnswer(holder, record) {
    if (record.answer == null && record.structured == null) return;
    const answer = new Step("answer", { ...record, id: `answer:${record.rlm ?? ""}` });
    answer.from = answer.to = record.to ?? null;
    holder.add(answer);
    this.steps.set(answer.id, answer);
  }

  hangPauses() {
    for (const record of this.pauses) {
      const step = new Step("pause", record);
      const inside = this.at(record.rlm, record.place) ?? this.above(record.rlm, record.place);
      (inside ?? this.root).add(step);
      this.steps.set(record.id, step);
    }
  }

  time() {
    for (const step of this.steps.values()) timeOf(step);
    const span = { from: Infinity, to: -Infinity };
    for (const step of this.steps.values()) {
      if (step.kind === "cell") cellTime(step);
      if (step.kind === "call" && step.children.length) around(step);
    }
    for (const step of this.steps.values()) {
      if (step.from != null) span.from = Math.min(span.from, step.from - step.waited);
      if (step.to != null) span.to = Math.max(span.to, step.to);
    }
    this.span = span.from <= span.to ? span : null;
  }
}

/** A series record is one point, or many in arrays of equal length. */
function pointsOf(record) {
  if (!Array.isArray(record.at)) return [record];
  return record.at.map((at, i) => ({
    at, cost: record.cost?.[i], tokens: record.tokens?.[i], sub_calls: record.sub_calls?.[i],
  }));
}

/** The order of what an RLM did: by turn, and in a turn by rank. */
function inRlm(one, other) {
  return turnOf(one) - turnOf(other) || RANK[one.kind] - RANK[other.kind]
    || byPlace(one.record.place, other.record.place);
}

function turnOf({ kind, record }) {
  return kind === "turn" ? record.number : record.turn ?? 0;
}

/** Steps within a step, by place. They mostly come so already. */
function order(step) {
  const { children } = step;
  for (let i = 1; i < children.length; i += 1) {
    if (byPlace(children[i - 1].record.place, children[i].record.place) > 0) {
      children.sort((a, b) => byPlace(a.record.place, b.record.place));
      return;
    }
  }
}

/** When a step was, of what its own record says. */
function timeOf(step) {
  const record = step.reply ?? step.record;
  if (record.at == null) return;
  if (step.kind === "call" && !step.reply) {
    step.from = step.to = record.at;
    return;
  }
  step.to = record.at;
  step.from = record.at - (record.seconds ?? 0);
  const called = step.kind === "call" ? step.record.at : step.parent?.record.at;
  const fallback = step.kind === "turn" || called == null ? 0 : Math.max(0, step.from - called);
  step.waited = step.kind === "cell" ? 0 : record.waited ?? (record.type === "reply" ? fallback : 0);
}

/** A cell lasts from its turn, or the cell before it, until it ended: its calls are in it. */
function cellTime(step) {
  const { parent, record } = step;
  const before = parent?.children[parent.children.indexOf(step) - 1];
  const from = before?.to ?? parent?.to;
  if (from != null) step.from = from;
  if (record.at == null) step.to = null;
}

/** A batch lasts from the call until its last reply. */
function around(step) {
  let to = step.record.at;
  for (const reply of step.children) {
    if (reply.to == null) { to = null; break; }
    to = Math.max(to ?? reply.to, reply.to);
  }
  step.from = step.record.at ?? null;
  step.to = to;
}
