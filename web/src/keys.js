// Keys: what the keyboard does, and a list of it.
import { html, useEffect, useRef } from "./ui.js";
import { store } from "./store.js";
import { isOpen, rowsNow } from "./rows.js";
import { goTo } from "./search.js";
import { panned, zoomed } from "./zoom.js";

const HELP = [
  ["/", "search everything"], ["n  N", "next hit, the one before"],
  ["j  k", "next step, the one before (also ↓ ↑)"], ["← →", "fold, unfold; to what it stands in"],
  ["Enter", "details of the step (on a phone)"], ["e  c", "unfold everything, fold everything"],
  ["+  −  0", "zoom the time line in, out, to the whole run"], ["[  ]", "earlier, later"],
  ["1 2 3 4 5", "steps, coverage, spend, compare, threads"], ["t", "light or dark"],
  ["Esc", "close, clear the search"], ["?", "this list"],
];

/** Keys that the address or the field that has the focus needs. */
const isTyping = ({ target }) => /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);

/** Listen to the keyboard. `view` has the axis, the tree and the hits of now. */
export function useKeys(view) {
  const now = useRef(view);
  now.current = view;
  useEffect(() => {
    const heard = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (isTyping(event)) return;
      const deed = DEEDS[event.key];
      if (!deed) return;
      const inButton = event.target.closest("button, a, summary");
      if (inButton && (event.key === "Enter" || event.key === " ")) return;
      event.preventDefault();
      deed(now.current);
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, []);
}

const rowsIn = ({ tree }) => rowsNow(tree, store.state.folds);

function move(now, by) {
  const { pick, view } = store.state;
  const rows = rowsIn(now);
  if (!rows.length || view !== "steps") return;
  const at = rows.findIndex((row) => row.step.id === pick);
  const from = at < 0 && by < Infinity ? -by : at;
  const next = Math.min(rows.length - 1, Math.max(0, from + by));
  store.pick(rows[next].step.id, { isMove: true });
}

const picked = (now) => rowsIn(now).find((row) => row.step.id === store.state.pick);

function outward(now) {
  const row = picked(now);
  if (!row) return;
  if (row.open) store.fold(row.step.id, false);
  else if (row.step.parent?.parent) store.pick(row.step.parent.id, { isMove: true });
}

function inward(now) {
  const row = picked(now);
  if (!row?.step.children.length) return;
  if (row.open) move(now, 1);
  else store.fold(row.step.id, true);
}

function foldAll({ tree }, isAll) {
  const folds = new Map();
  for (const step of tree?.steps.values() ?? []) {
    if (step.children.length && isOpen(step, folds) !== isAll) folds.set(step.id, isAll);
  }
  store.set({ folds });
}

const view = (name) => () => {
  if (name !== "threads" || store.live) store.set({ view: name });
};
const zoom = (change) => ({ axis }) => store.set({ zoom: change(store.state.zoom, axis) });

function escape() {
  const { isHelp, drawer } = store.state;
  if (isHelp) store.set({ isHelp: false });
  else if (drawer) store.set({ drawer: false });
  else store.set({ find: "" });
}

const DEEDS = {
  "/": () => store.set({ isFinding: true }),
  n: ({ hits }) => goTo(hits, 1), N: ({ hits }) => goTo(hits, -1),
  j: (now) => move(now, 1), ArrowDown: (now) => move(now, 1),
  k: (now) => move(now, -1), ArrowUp: (now) => move(now, -1),
  PageDown: (now) => move(now, 20), PageUp: (now) => move(now, -20),
  Home: (now) => move(now, -Infinity), End: (now) => move(now, Infinity),
  ArrowLeft: outward, ArrowRight: inward, h: outward, l: inward,
  Enter: () => store.set({ drawer: true }),
  e: (now) => foldAll(now, true), c: (now) => foldAll(now, false),
  "+": zoom((was, axis) => zoomed(was, 0.5, 0.5, axis)),
  "-": zoom((was, axis) => zoomed(was, 2, 0.5, axis)),
  0: zoom(() => null),
  "[": zoom((was, axis) => panned(was, -0.4, axis)), "]": zoom((was, axis) => panned(was, 0.4, axis)),
  1: view("steps"), 2: view("coverage"), 3: view("spend"), 4: view("compare"), 5: view("threads"),
  t: () => store.theme(), Escape: escape, "?": () => store.set({ isHelp: !store.state.isHelp }),
};

export function Help() {
  const box = useRef(null);
  useEffect(() => box.current.showModal(), []);
  const close = () => store.set({ isHelp: false });
  return html`<dialog ref=${box} onClose=${close} aria-label="Keys"
      onClick=${(event) => event.target === box.current && close()}>
    <h2>Keys</h2><dl class="keys">${HELP.map(([keys, words]) => html`
      <div><dt>${keys.split("  ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${words}</dd></div>`)}
    </dl><button onClick=${close}>Close</button></dialog>`;
}
