// Approval: one open pause as a card, with the decisions that it takes.
import { html, useState, table } from "./ui.js";
import { store } from "./store.js";
import { plain, shortText } from "./plain.js";
import { Block } from "./long.js";
import { startOf, shown } from "./texts.js";
import { useDeed } from "./deed.js";

const DECISIONS = ["approve", "edit", "reject", "respond"];
const ASKS = table({
  approval: "This call waits for a decision", external: "This call waits for its result",
  other: "This waits for an answer",
});

/** The decisions that a pause takes: those that it names itself, else all of its kind. */
function allowed({ kind, value }) {
  if (kind !== "approval") return ["result"];
  const named = value?.review_configs?.[0]?.allowed_decisions ?? value?.allowed_decisions;
  return Array.isArray(named) ? DECISIONS.filter((one) => named.includes(one)) : DECISIONS;
}

/** Arguments come as values, or as a text that is JSON already. */
const asJson = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? {}, null, 2));

export function Approval({ record }) {
  const [mode, setMode] = useState(null);
  const [text, setText] = useState("");
  const [{ isBusy, problem, isDone }, act] = useDeed();
  const kept = store.live?.state.answers?.[record.interrupt];
  const start = (next) => {
    setMode(next);
    setText(next === "edit" ? asJson(record.arguments) : "");
  };
  const send = () => act(() => store.live.answer(record.interrupt, decisionOf(mode, text)));
  const approve = () => act(() => store.live.answer(record.interrupt, { type: "approve" }));
  return html`
    <div class="card" role="group" aria-label=${`${ASKS[record.kind] ?? ASKS.other}: ${record.tool ?? ""}`}>
      <h3>${ASKS[record.kind] ?? ASKS.other}: <code>${plain(record.tool ?? "")}</code></h3>
      <p dir="auto">${plain(shortText(describe(record), 600))}</p>
      <${Block} title="Arguments" text=${shown(record.arguments)} language="json" />
      ${kept && html`<p class="hint" role="status">${keptWords(kept)}</p>`}
      ${store.live && !isDone && html`<div class="choices">
        ${allowed(record).map((type) => type === "approve"
          ? html`<button class="main" disabled=${isBusy} onClick=${approve}>Approve</button>`
          : html`<button aria-pressed=${mode === type} disabled=${isBusy}
              onClick=${() => start(type)}>${NAMES[type]}</button>`)}</div>`}
      ${mode && !isDone && html`<${Form} mode=${mode} text=${text} setText=${setText} send=${send}
        isBusy=${isBusy} leave=${() => setMode(null)} />`}
      ${isDone && html`<p class="hint" role="status">The answer is kept; the run goes on with it.</p>`}
      ${problem && html`<p class="problem" role="alert">${plain(problem)}</p>`}
      ${!store.live && html`<p class="hint">This file cannot answer: ask
        ${" "}<code>langgraph-rlm ui</code>, or resume the thread.</p>`}
    </div>`;
}

const NAMES = {
  edit: "Edit …", reject: "Reject …", respond: "Answer in its place …", result: "Give the result …",
};

const describe = ({ value }) =>
  value?.action_requests?.[0]?.description ?? value?.description ?? "";

function keptWords({ type, by, refused }) {
  if (refused) return html`An answer was not taken: ${plain(refused)}`;
  return html`${plain(by ?? "Somebody")} has answered (${plain(type)}); it waits for a process that
    may run the thread.`;
}

/** The decision that a form makes. Throws where its JSON is none. */
function decisionOf(mode, text) {
  if (mode === "edit") return { type: "edit", args: parsed(text) };
  if (mode === "result") return { type: "result", result: valueOf(text) };
  return text ? { type: mode, message: text } : { type: mode };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}`);
  }
}

/** A result is JSON where it begins as JSON does, and a text otherwise. */
const valueOf = (text) => (/^\s*[[{"\d-]|^\s*(true|false|null)\s*$/.test(text) ? parsed(text) : text);

const LABELS = {
  edit: "The arguments, as JSON", reject: "Why (the code is told)",
  respond: "The answer that the code gets", result: "The result: JSON, or a text",
};

function Form({ mode, text, setText, send, isBusy, leave }) {
  const submit = (event) => {
    event.preventDefault();
    send();
  };
  return html`<form onSubmit=${submit}>
    <label>${LABELS[mode]}
      <textarea rows=${mode === "edit" ? 8 : 3} value=${text} spellcheck=${false}
        onInput=${(event) => setText(event.currentTarget.value)}></textarea></label>
    <p><button class="main" type="submit" disabled=${isBusy}>${SEND[mode]}</button>
      ${" "}<button type="button" onClick=${leave}>Cancel</button></p></form>`;
}

const SEND = {
  edit: "Approve with these", reject: "Reject", respond: "Answer", result: "Give this result",
};

/** Open pauses, above the steps. */
export function Waiting({ trace }) {
  const { pauses } = trace.tree;
  if (!pauses.length) return null;
  return html`<aside class="waiting" aria-label="Waiting for you">
    <b>${pauses.length === 1 ? "One call waits" : `${pauses.length} calls wait`} for a person:</b>
    <ul>${pauses.slice(0, 12).map((pause) => html`<li><button class="link"
      onClick=${() => store.pick(pause.id)}><code>${plain(pause.tool ?? "pause")}</code>
      ${" "}${plain(shortText(startOf(asJson(pause.arguments)), 60))}</button></li>`)}</ul>
    ${pauses.length > 12 && html`<span>and ${pauses.length - 12} more</span>`}</aside>`;
}
