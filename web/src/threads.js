// Threads: all threads of the database, and a question to one of them or to a new one.
import { html, useState, cls } from "./ui.js";
import { store } from "./store.js";
import { plain, shortText } from "./plain.js";
import { startOf } from "./texts.js";
import { bytes, when, STATE_WORDS } from "./say.js";
import { useDeed } from "./deed.js";

export function Threads() {
  const [filter, setFilter] = useState("");
  const { live } = store;
  const wanted = filter.trim().toLowerCase();
  const found = live.threads.filter(({ id, question, state }) =>
    !wanted || `${id} ${startOf(question)} ${state}`.toLowerCase().includes(wanted));
  return html`
    <section class="page threads" aria-label="Threads">
      <h2>Threads</h2>
      ${live.canRun && html`<${Ask} name="Ask in a new thread" send=${(text) => live.newThread(text)} />`}
      <label class="filter">Filter <input type="search" value=${filter} spellcheck=${false}
        onInput=${(event) => setFilter(event.currentTarget.value)} /></label>
      ${live.listProblem && html`<p class="problem" role="alert">${plain(live.listProblem)}</p>`}
      ${found.length === 0 && html`<p class="hint" role="status">${nothing(live)}</p>`}
      <ul class="plain list">${found.slice(0, 500).map((thread) => html`<${OneThread}
        key=${thread.id} thread=${thread} isOpen=${thread.id === live.thread} />`)}</ul>
      ${found.length > 500 && html`<p class="hint">${found.length - 500} more: filter them.</p>`}
    </section>`;
}

/** Why no thread is listed. */
function nothing(live) {
  if (!live.isListed) return live.listProblem ? "" : "Reading the threads …";
  if (live.threads.length) return "No thread has this in its question, name or state.";
  return "No threads yet: ask one with langgraph-rlm ask.";
}

function OneThread({ thread, isOpen }) {
  const go = () => {
    store.live.open(thread.id);
    store.set({ view: "steps" });
  };
  return html`<li class=${cls(isOpen && "picked")}><button onClick=${go}>
    <span class="question" dir="auto">${plain(shortText(startOf(thread.question), 140)) || "no question"}</span>
    <span class="note"><b class=${`state ${thread.state}`}>${STATE_WORDS[thread.state]
      ?? plain(thread.state ?? "")}</b>${" "}${plain(thread.id)}, ${when(epoch(thread.updated))}
      ${thread.bytes == null ? "" : html`, ${bytes(thread.bytes)}`}</span></button></li>`;
}

/** The server gives epoch seconds, or a date as ISO 8601. */
const epoch = (time) => (typeof time === "string" ? Date.parse(time) / 1000 : time);

/** A question to the thread that is shown, and what else can be done with it. */
export function Controls({ trace }) {
  const [isAsking, setAsking] = useState(false);
  const [{ isBusy, problem }, act] = useDeed();
  const { live } = store;
  const { state, can_run: canRun, error } = live.state;
  const isCutOff = state === "stopped" || (state === "paused" && !trace.tree.pauses.length);
  return html`<div class="controls">
    <span class=${cls("connection", live.connection)} role="status">${CONNECTION[live.connection]}</span>
    ${state === "running" && html`<button disabled=${isBusy} onClick=${() => act(() => live.stop())}>
      Stop</button>`}
    ${isCutOff && canRun && html`<button disabled=${isBusy}
      onClick=${() => act(() => live.proceed())}>Continue</button>`}
    ${state === "done" && canRun && html`<button aria-expanded=${isAsking}
      onClick=${() => setAsking(!isAsking)}>Ask again …</button>`}
    ${problem && html`<span class="problem" role="alert">${plain(problem)}</span>`}
    ${error && html`<span class="problem" role="alert">${plain(error)}</span>`}
    ${isAsking && html`<${Ask} name="Another question to this thread" send=${async (text) => {
      await live.putQuestion(text);
      setAsking(false);
    }} />`}</div>`;
}

const CONNECTION = {
  none: "", connecting: "connecting", open: "following", lost: "connection lost, trying again",
  closed: "no longer following",
};

function Ask({ name, send }) {
  const [text, setText] = useState("");
  const [{ isBusy, problem }, act] = useDeed();
  const submit = (event) => {
    event.preventDefault();
    act(async () => {
      await send(text);
      setText("");
    });
  };
  return html`<form class="ask" onSubmit=${submit}><label>${name}
    <textarea rows="2" value=${text} required onInput=${(e) => setText(e.currentTarget.value)}>
    </textarea></label><button class="main" type="submit" disabled=${isBusy || !text.trim()}>Ask</button>
    ${problem && html`<p class="problem" role="alert">${plain(problem)}</p>`}</form>`;
}
