// Head: what was asked, what came of it, and what it took.
import { html, useState, cls, table } from "./ui.js";
import { store } from "./store.js";
import { plain } from "./plain.js";
import { Long, useText } from "./long.js";
import { lengthOf, startOf } from "./texts.js";
import { count, many, percent, seconds, short, tokens, costOf, when, STATE_WORDS } from "./say.js";
import { Answer } from "./answer.js";

export function Head({ trace }) {
  const { about, tree } = trace;
  const [isAll, setAll] = useState(false);
  const questions = tree.root.children.filter((step) => step.kind === "question");
  const question = questions.at(-1)?.record.question ?? tree.root.rlm?.question;
  const isLong = lengthOf(question) > 300 || lengthOf(about.answer) > 420;
  return html`
    <section class="head" aria-label="The run">
      <div class="words"><div class=${cls("said", isLong && !isAll && "clamped")}>
        <h1 class="question" dir="auto"><${Said} text=${question} isAll=${isAll} /></h1>
        <div class="answer" dir="auto">
          ${about.answer == null && about.structured === undefined
            ? html`<p class="none">${noAnswer(about)}</p>`
            : html`<${Answer} about=${about} isAll=${isAll} />`}
        </div>
      </div>
      ${isLong && html`<button class="quiet unclamp" aria-expanded=${isAll}
        onClick=${() => setAll(!isAll)}>${isAll ? "Show less" : "Show all"}</button>`}</div>
      <${Facts} trace=${trace} />
    </section>`;
}

function Said({ text, isAll }) {
  const [whole] = useText(text, isAll);
  if (isAll && whole !== undefined && whole.length > 3000) return html`<${Long} text=${text} />`;
  return plain(whole ?? startOf(text));
}

function noAnswer(about) {
  if (about.state === "running") return "No answer yet: it is running.";
  if (about.state === "paused") return "No answer yet: it waits for a person.";
  return "No answer: it stopped before it had one.";
}

function Facts({ trace }) {
  const { about, tree } = trace;
  const spent = tokens(about.usage);
  const usage = about.usage ?? {};
  return html`
    <dl class="facts">
      <${Fact} name="State"><span class=${`state ${about.state}`}>${stateOf(about)}</span><//>
      <${Fact} name="Cost">${about.usage ? costOf(spent) : "unknown"}<//>
      <${Fact} name="Tokens">${short(spent.input)} in, ${short(spent.output)} out<//>
      <${Fact} name="Calls">${callsOf(usage)}<//>
      <${Fact} name="Worked">${usage.seconds == null ? "unknown" : seconds(usage.seconds)}<//>
      <${Fact} name="RLMs">${count(tree.rlms.size)}, ${models(about)}<//>
      <${Fact} name="Seen by models"><${Seen} tree=${tree} /><//>
      <${Fact} name="Invocations"><${Runs} runs=${about.runs ?? []} /><//>
    </dl>`;
}

function Fact({ name, children }) {
  return html`<div><dt>${name}</dt><dd>${children}</dd></div>`;
}

function stateOf(about) {
  const reason = about.stop_reason;
  const state = STATE_WORDS[about.state] ?? plain(about.state ?? "unknown");
  return reason && reason !== about.state ? html`${state} <small>${plain(reason)}</small>` : state;
}

function callsOf(usage) {
  const failed = usage.failed_sub_calls ? `, ${count(usage.failed_sub_calls)} failed` : "";
  return `${many(usage.turns ?? 0, "turn")}, ${many(usage.sub_calls ?? 0, "sub-call")}${failed}`;
}

function models(about) {
  const names = about.models ?? [];
  return html`<span title=${names.join(", ")}>${plain(names.join(", ") || "model unknown")}</span>`;
}

function Seen({ tree }) {
  const open = (words) => html`<button class="link"
    onClick=${() => store.set({ view: "coverage" })}>${words}</button>`;
  if (!tree.coverage.length) return tree.hasContexts ? "not computed" : "no contexts";
  const share = tree.seenShare;
  return open(share == null ? "not known" : `${percent(share)} of the contexts`);
}

const ENDS = table({ finished: "finished", paused: "paused", killed: "killed" });

/** Each invocation as a mark with its end in words. */
function Runs({ runs }) {
  if (!runs.length) return "unknown";
  return html`<span class="runs">${runs.map((run) => html`
    <span class=${cls("run", run.ended)} title=${`${when(run.from)} to ${when(run.to)}`}>
      ${ENDS[run.ended] ?? "running"}</span>`)}</span>`;
}
