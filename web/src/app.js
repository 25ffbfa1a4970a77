// App: the page as a whole.
import { html, useEffect, useMemo, useRef, useState, cls } from "./ui.js";
import { store } from "./store.js";
import { Axis } from "./axis.js";
import { rowsNow } from "./rows.js";
import { plain, shortText } from "./plain.js";
import { startOf } from "./texts.js";
import { Head } from "./head.js";
import { Overview } from "./overview.js";
import { Steps, follow } from "./steps.js";
import { Details } from "./details.js";
import { Coverage } from "./coverage.js";
import { Spend } from "./spend.js";
import { Compare } from "./compare.js";
import { Controls, Threads } from "./threads.js";
import { Waiting } from "./approval.js";
import { SearchBox, useSearch } from "./search.js";
import { Help, useKeys } from "./keys.js";
import { themeNow } from "./theme.js";

const TABS = [["steps", "Steps"], ["coverage", "Coverage"], ["spend", "Spend"], ["compare", "Compare"]];

export function App() {
  const { state, trace } = store;
  const tree = trace?.tree ?? null;
  const axis = useMemo(() => axisOf(trace), [trace, trace?.version]);
  const rows = rowsNow(tree, state.folds);
  const search = useSearch(trace, state.find);
  useKeys({ axis, tree, hits: search.hits });
  useEffect(() => {
    const question = tree && shortText(startOf(tree.root.rlm?.question ?? ""), 60);
    document.title = question ? `${question} · langgraph-rlm` : "langgraph-rlm";
  }, [tree]);
  const isHere = Boolean(state.pick && tree?.of(state.pick));
  // A link may name a step that comes later, with the records of a run that is followed.
  useEffect(() => {
    if (isHere) store.reveal();
  }, [isHere]);
  return html`
    <${Bar} search=${search} />
    ${state.problem && html`<p class="problem band" role="alert">${plain(state.problem)}
      ${" "}<button class="quiet" onClick=${() => store.set({ problem: null })}>Close</button></p>`}
    <${View} trace=${trace} axis=${axis} rows=${rows} search=${search} />
    ${state.isHelp && html`<${Help} />`}`;
}

function axisOf(trace) {
  return new Axis(trace?.tree.span ?? null, trace?.about.runs, Date.now() / 1000);
}

function Bar({ search }) {
  const { view, find, pick } = store.state;
  const tabs = store.live ? [["threads", "Threads"], ...TABS] : TABS;
  const isOff = (name) => name !== "threads" && !store.trace;
  return html`<header class="bar">
    <span class="brand" aria-hidden="true">⊂⊃</span>
    <nav aria-label="Views" class="tabs">${tabs.map(([name, words]) => html`<button
      aria-current=${view === name ? "page" : null} disabled=${isOff(name)}
      onClick=${() => store.set({ view: name, drawer: false })}>${words}</button>`)}</nav>
    <span class="thread" title="Thread">${plain(store.trace?.about.thread ?? store.live?.thread ?? "")}</span>
    ${store.trace && html`<${SearchBox} find=${find} search=${search} pick=${pick} />`}
    <button class="quiet" aria-label="Light or dark" title="Light or dark (t)"
      onClick=${() => store.theme()}>${themeNow() === "dark" ? "☾" : "☀"}</button>
    <button class="quiet" aria-label="Keys" title="Keys (?)"
      onClick=${() => store.set({ isHelp: true })}>?</button>
  </header>`;
}

function View({ trace, axis, rows, search }) {
  const { view, region } = store.state;
  const theme = themeNow();
  if (view === "threads" && store.live) return html`<main><${Threads} /></main>`;
  if (!trace) return html`<main><p class="hint page">Pick a thread.</p></main>`;
  if (view === "coverage") {
    return html`<main><${Coverage} trace=${trace} region=${region} theme=${theme} /></main>`;
  }
  if (view === "spend") return html`<main><${Spend} trace=${trace} axis=${axis} theme=${theme} /></main>`;
  if (view === "compare") return html`<main class="fixed"><${Compare} traces=${store.traces} /></main>`;
  return html`<main class="fixed"><${Run} trace=${trace} axis=${axis} rows=${rows} search=${search}
    theme=${theme} /></main>`;
}

/** The label column and the details are as wide as the reader drags them. */
function Run({ trace, axis, rows, search }) {
  const { pick, zoom, find, drawer } = store.state;
  const [label, setLabel] = useState(null);
  const [side, setSide] = useState(null);
  const box = useRef(null);
  const wide = innerWidth;
  const split = label ?? (wide < 720 ? wide - 96 : Math.round(Math.min(460, wide * 0.29)));
  const details = side ?? Math.round(Math.min(760, wide * 0.38));
  return html`
    ${store.live && html`<${Controls} trace=${trace} />`}
    <${Head} trace=${trace} />
    <${Waiting} trace=${trace} />
    <${Overview} tree=${trace.tree} axis=${axis} zoom=${zoom} />
    <div class=${cls("run-view", drawer && "drawer")} ref=${box}>
      <${Steps} rows=${rows} axis=${axis} zoom=${zoom} pick=${pick} hits=${search.set} split=${split} />
      <${Divider} name="Width of the labels" value=${split} least=${140} most=${wide - 160}
        style=${{ left: `${split}px` }} set=${setLabel} by=${1} />
      <div class="side" style=${{ "--side": `${details}px` }}>
        <${Divider} name="Width of the details" value=${details} least=${240} most=${wide - 320}
          style=${{ left: 0 }} set=${setSide} by=${-1} />
        <${Details} trace=${trace} pick=${pick ?? trace.tree.first} find=${find} />
      </div>
    </div>`;
}

function Divider({ name, value, least, most, style, set, by }) {
  const [isOn, setOn] = useState(false);
  const kept = (next) => Math.round(Math.min(most, Math.max(least, next)));
  const start = (event) => {
    event.preventDefault();
    let now = value;
    follow(event, (dx) => set(kept((now += dx * by))), setOn);
  };
  const keys = (event) => {
    const step = { ArrowLeft: -16, ArrowRight: 16 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    set(kept(value + step * by));
  };
  return html`<div class=${cls("divider", isOn && "dragged")} role="separator" tabindex="0"
    aria-orientation="vertical" aria-label=${name} aria-valuenow=${value} aria-valuemin=${least}
    aria-valuemax=${most} style=${style} onPointerDown=${start} onKeyDown=${keys}></div>`;
}
