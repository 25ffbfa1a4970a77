// Search: every text of every record, those behind references too.
import { html, useEffect, useRef, useState } from "./ui.js";
import { store } from "./store.js";
import { allSteps } from "./rows.js";
import { isRef } from "./texts.js";
import { count } from "./say.js";

/** How long the search works before it lets the page draw, in milliseconds. */
const SLICE = 12;

/** Keys whose values are identifiers of ours or figures, not texts. */
const NOT_TEXT = new Set(
  ["id", "rlm", "type", "usage", "reads", "read_bytes", "run", "ref", "digest"]);

/** Whether a record has a text with `wanted`, in lower case. */
function hasText(value, wanted, texts) {
  if (value == null || typeof value === "boolean") return false;
  if (typeof value !== "object") return String(value).toLowerCase().includes(wanted);
  if (isRef(value)) return texts.searched(value).includes(wanted);
  if (Array.isArray(value)) return value.some((item) => hasText(item, wanted, texts));
  return Object.entries(value).some(
    ([key, item]) => !NOT_TEXT.has(key) && (hasText(item, wanted, texts) || key === wanted),
  );
}

/** Ids of the steps that have a text, in the order of rows. Rests so that the page can draw. */
async function search(trace, wanted, { isOver, found }) {
  const hits = [];
  let since = performance.now();
  for (const step of allSteps(trace.tree)) {
    const records = [step.record, step.reply, step.rlm];
    if (records.some((record) => record && hasText(record, wanted, trace.texts))) hits.push(step.id);
    if (performance.now() - since < SLICE) continue;
    found(hits, true);
    await new Promise((go) => setTimeout(go));
    if (isOver()) return;
    since = performance.now();
  }
  found(hits, false);
}

/** Texts that are named and not here. */
function missing(trace) {
  const refs = new Map();
  const look = (value) => {
    if (value === null || typeof value !== "object") return;
    if (isRef(value)) {
      if (trace.texts.now(value) === undefined) refs.set(value.ref, value);
    } else Object.values(value).forEach(look);
  };
  for (const record of trace.records.values()) look(record);
  return [...refs.values()];
}

/** Fetch them, a few at once. */
async function fetchAll(trace, refs, isOver) {
  const left = [...refs];
  const worker = async () => {
    while (left.length && !isOver()) await trace.texts.whole(left.pop());
  };
  await Promise.all(Array.from({ length: 6 }, worker));
}

/** Search while the reader types: `{hits, isBusy, isPart}`. */
export function useSearch(trace, find) {
  const [state, setState] = useState({ hits: [], set: null, isBusy: false, problem: null });
  const wanted = find.trim().toLowerCase();
  useEffect(() => {
    if (!wanted || !trace) {
      setState({ hits: [], set: null, isBusy: false, problem: null });
      return undefined;
    }
    let over = false;
    const isOver = () => over;
    const found = (hits, isBusy) =>
      over || setState({ hits: [...hits], set: new Set(hits), isBusy, problem: null });
    const work = async () => {
      await search(trace, wanted, { isOver, found });
      const refs = store.live ? missing(trace) : [];
      if (!refs.length || over) return;
      await fetchAll(trace, refs, isOver);
      await search(trace, wanted, { isOver, found });
    };
    const timer = setTimeout(() => work().catch((error) => over
      || setState((was) => ({ ...was, isBusy: false, problem: error.message }))), 120);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [wanted, trace, trace?.version]);
  return state;
}

/** Pick the next hit, or the one before. */
export function goTo(hits, by) {
  if (!hits.length) return;
  const at = hits.indexOf(store.state.pick);
  const next = at < 0 ? (by > 0 ? 0 : hits.length - 1) : (at + by + hits.length) % hits.length;
  store.pick(hits[next], { isMove: true });
}

export function SearchBox({ find, search, pick }) {
  const field = useRef(null);
  useEffect(() => {
    if (store.state.isFinding) field.current?.focus();
  }, [store.state.isFinding]);
  const keys = (event) => {
    if (event.key === "Enter") goTo(search.hits, event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      store.set({ find: "", isFinding: false });
      field.current.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div class="search" role="search">
    <input ref=${field} type="search" placeholder="Search everything  /" value=${find}
      aria-label="Search everything" spellcheck=${false} autocomplete="off"
      onInput=${(event) => store.set({ find: event.currentTarget.value })}
      onKeyDown=${keys} onBlur=${() => store.set({ isFinding: false })} />
    ${find.trim() && html`<span class="found" role="status">${words(search, pick)}</span>
      <button class="quiet" aria-label="Previous hit" onClick=${() => goTo(search.hits, -1)}>↑</button>
      <button class="quiet" aria-label="Next hit" onClick=${() => goTo(search.hits, 1)}>↓</button>`}
  </div>`;
}

function words({ hits, isBusy, problem }, pick) {
  if (problem) return problem;
  const at = hits.indexOf(pick);
  const place = at < 0 ? "" : `${count(at + 1)} of `;
  if (!hits.length) return isBusy ? "searching" : "nothing found";
  return `${place}${count(hits.length)} ${hits.length === 1 ? "step" : "steps"}${isBusy ? " …" : ""}`;
}
