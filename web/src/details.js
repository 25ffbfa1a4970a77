// Details: all that the log says of the step that is picked.
import { html, useState, useEffect, useRef, cls, table } from "./ui.js";
import { store } from "./store.js";
import { plain, shortText } from "./plain.js";
import { Block, Copy, Long } from "./long.js";
import { wordsOf, hueOf, moodOf } from "./rows.js";
import { shown, startOf } from "./texts.js";
import { bytes, costOf, count, many, seconds, short, tokens, when } from "./say.js";
import { Files, Pictures } from "./files.js";
import { markHits } from "./marks.js";
import { Approval } from "./approval.js";
import { Fork } from "./fork.js";

export function Details({ trace, pick, find }) {
  const box = useRef(null);
  const step = trace.tree.of(pick);
  useEffect(() => markHits(box.current, find));
  useEffect(() => box.current && (box.current.scrollTop = 0), [pick]);
  if (!step) return html`<section class="details" aria-label="Details" ref=${box}><${Hint} /></section>`;
  const body = BODIES[step.kind] ?? (() => null);
  return html`
    <section class="details" aria-label="Details" ref=${box} tabindex="-1">
      <${Title} step=${step} />
      ${body(step.record, step)}
      <${Raw} key=${`raw ${step.id}`} step=${step} />
    </section>`;
}

function Hint() {
  return html`<p class="hint">Pick a step to see all that the log says of it.
    <br />Keys: <kbd>j</kbd> <kbd>k</kbd> move, <kbd>/</kbd> searches, <kbd>?</kbd> lists all.</p>`;
}

function Title({ step }) {
  const [name] = wordsOf(step);
  const record = step.reply ?? step.record;
  const trail = trailOf(step);
  return html`
    <header class="title-line">
      <button class="quiet back" onClick=${() => store.set({ drawer: false })}>← Steps</button>
      <h2><span class=${cls("dot", `h-${hueOf(step)}`, moodOf(step))} aria-hidden="true"></span>
        ${plain(name)} <code class="place">${plain(record.place ?? "")}</code></h2>
      ${trail.length > 0 && html`<nav aria-label="Stands in" class="trail">${trail.map(
        (at) => html`<button class="link" onClick=${() => store.pick(at.id)}>
          ${plain(shortText(wordsOf(at)[0], 40))}</button>`)}</nav>`}
      <${Figures} record=${record} step=${step} />
    </header>`;
}

function trailOf(step) {
  const trail = [];
  for (let at = step.parent; at?.parent; at = at.parent) trail.unshift(at);
  return trail;
}

/** Model, tokens, cost and times of one record. */
function Figures({ record, step }) {
  const spent = tokens(record.usage);
  const facts = [
    ["model", record.model],
    ["in", spent.calls ? `${short(spent.input)} tokens` : null],
    ["out", spent.calls ? `${short(spent.output)} tokens` : null],
    ["cost", spent.calls ? costOf(spent) : null],
    ["took", record.seconds == null ? null : seconds(record.seconds)],
    ["waited", step.waited > 0.0005 ? seconds(step.waited) : null],
    [record.type === "call" ? "called" : "ended", record.at == null ? null : when(record.at)],
    ["invocation", record.run],
    ["state", record.state],
  ].filter(([, value]) => value != null && value !== "");
  return html`<dl class="figures">${facts.map(([name, value]) => html`
    <div><dt>${name}</dt><dd>${plain(value)}</dd></div>`)}</dl>`;
}

const BODIES = table({
  question: (record) => html`
    <${Block} title="Question" text=${record.question} tone="prose" />
    <${Contexts} contexts=${record.contexts ?? []} />
    <${Fork} record=${record} text=${record.question} name="Ask it otherwise" />`,

  turn: (record) => html`
    ${record.limit && html`<p class="problem">Asked for the best answer so far: the limit
      ${" "}<code>${plain(record.limit)}</code> was reached.</p>`}
    ${record.is_cut && html`<p class="problem">The provider cut this reply off.</p>`}
    ${record.problem && html`<p class="problem">${plain(shown(record.problem))}</p>`}
    <${Block} title="Reasoning" text=${record.thoughts} tone="thoughts" />
    <${Block} title="Prose" text=${record.prose} tone="prose" />
    ${(record.cells ?? []).map((place) => html`<${CellIn} rlm=${record.rlm} place=${place} />`)}
    <${Block} title="Given as the answer" text=${record.final} tone="prose" />
    <${Block} title="Reply as it came" text=${record.reply} language="markdown"
      open=${record.prose == null && !(record.cells ?? []).length} />
    <${Fork} record=${record} text=${record.reply} name="Fork with another reply" />`,

  cell: (record, step) => html`
    <${Cell} record=${record} />
    ${step.parent?.kind === "turn" && html`<${Fork} record=${step.parent.record} text=${record.code}
      whole=${step.parent.record.reply} name="Fork with other code" />`}`,

  call: (record, step) => html`
    ${record.call === "tool" || record.call === "sql"
      ? html`<${Block} title=${record.call === "sql" ? "Request" : "Arguments"}
          text=${record.request} language="json" />`
      : !step.reply && html`<${Block} title="Request" text=${record.request} language="json"
          open=${step.children.length === 0} />`}
    ${step.reply ? html`<${Reply} record=${step.reply} step=${step} />`
      : html`<${Batch} step=${step} record=${record} />`}`,

  reply: (record, step) => html`<${Reply} record=${record} step=${step} />`,

  rlm: (record, step) => html`<${Child} record=${record} step=${step} />`,

  pause: (record) => html`
    <${Approval} key=${record.interrupt} record=${record} />
    <${Block} title="What is asked" text=${record.value} language="json" open=${false} />
    <${Block} title="Form of the answer" text=${record.schema} language="json" open=${false} />`,

  summary: (record) => html`
    <p class="hint">It stands for the turns before turn ${record.turn + 1} in what the model is
      sent.</p>
    <${Block} title="Summary" text=${record.summary} tone="prose" />`,

  refused: (record) => html`
    <${Block} title="Why it was refused" text=${record.error} tone="bad" />
    <${Block} title="The answer" text=${record.answer} tone="prose" />`,

  answer: (record) => html`
    <${Block} title="Answer" text=${record.answer} tone="prose" />
    <${Block} title="In its form" text=${record.structured} language="json" />
    <${Pictures} files=${store.trace.about.files} /><${Files} files=${store.trace.about.files} />`,
});

function CellIn({ rlm, place }) {
  const step = store.trace.tree.at(rlm, place);
  return step ? html`<div class="inner"><${Cell} record=${step.record} /></div>` : null;
}

const OUTCOMES = table({
  error: "The code raised an error.",
  timeout: "A time limit stopped the code; nothing of the cell was kept.",
  crashed: "The sandbox died; nothing of the cell was kept.",
  stopped: "A limit or another question ended the cell; nothing of it was kept.",
});

function Cell({ record }) {
  return html`
    <${Block} title=${`Code ${record.place}`} text=${record.code} language="python" tone="code" />
    ${OUTCOMES[record.outcome] && html`<p class="problem">${OUTCOMES[record.outcome]}</p>`}
    <${Block} title="Output" text=${record.stdout} tone="output" />
    <${Block} title="Value" text=${record.value} tone="output" />
    <${Block} title="Error" text=${record.error} tone="bad" />
    <${Block} title="Given as the answer" text=${record.final} tone="prose" />
    <${Pictures} files=${record.files} /><${Files} files=${record.files} />
    ${(record.left_out ?? []).map((why) => html`<p class="problem">${plain(why)}</p>`)}
    <${Reads} reads=${record.reads} sizes=${record.read_bytes} />`;
}

function Reads({ reads, sizes }) {
  const parts = Object.entries(reads ?? {});
  if (!parts.length) return null;
  return html`<details class="block"><summary><span class="title">What it read</span></summary>
    <ul class="plain">${parts.map(([digest, ranges]) => html`<li>
      ${plain(nameOf(digest))}:
      ${" "}${bytes(sizes?.[digest] ?? ranges.reduce((sum, [a, b]) => sum + b - a, 0))} in
      ${" "}${many(ranges.length, "stretch", "stretches")}
      ${" "}<button class="link" onClick=${() => store.set({
        view: "coverage", region: { digest, at: ranges[0]?.[0] ?? 0 } })}>show</button>
    </li>`)}</ul></details>`;
}

const nameOf = (digest) =>
  store.trace.tree.coverage.find((map) => map.digest === digest)?.name ?? digest.slice(0, 12);

function Contexts({ contexts }) {
  if (!contexts.length) return null;
  return html`<h3>Contexts</h3><table class="facts-table"><tbody>${contexts.map((context) => html`
    <tr><th scope="row">${plain(context.user_name ?? context.name)}</th>
      <td>${plain(context.kind ?? "")}</td><td>${bytes(context.size ?? 0)}</td>
      <td>${context.items == null ? "" : many(context.items, "item")}</td>
      <td>${plain(context.about ?? "")}</td></tr>`)}</tbody></table>`;
}

function Reply({ record, step }) {
  const language = record.is_json || step.kind === "call" && record.value == null ? "json" : null;
  return html`
    <${Decision} decision=${record.decision} />
    ${record.state === "dropped" && html`<p class="problem">Its cell ended without it.</p>`}
    ${record.refused && html`<p class="problem">The batch was larger than what was left: nothing of
      it was asked.</p>`}
    <${Block} title="Prompt" text=${record.prompt} tone="prose" />
    ${record.context && html`<${Contexts} contexts=${[record.context]} />`}
    <${Pictures} files=${record.images} />
    <${Block} title="Reasoning" text=${record.thoughts} tone="thoughts" />
    <${Block} title="Reply" text=${record.value} language=${language} tone="prose" />
    <${Block} title="Error" text=${record.error} tone="bad" />
    ${step.rlm && html`<${Child} record=${step.rlm} step=${step} />`}
    ${record.thread && !step.rlm && html`<p class="hint">A child RLM on the thread
      ${" "}<code>${plain(record.thread)}</code>, which is not in this
      database${record.state === "open" ? " or has not begun" : ""}.</p>`}
    ${record.state === "answered" && html`<${Fork} record=${record} text=${record.value}
      name="Fork with another answer" />`}`;
}

const DECIDED = table({
  approve: "approved it", edit: "approved it with other arguments", reject: "rejected it",
  respond: "answered in its place", result: "gave its result",
});

function Decision({ decision }) {
  if (!decision) return null;
  return html`<div class="decision"><p><b>${plain(decision.by ?? "Somebody")}</b>
    ${" "}${DECIDED[decision.type] ?? plain(decision.type)}${decision.at == null ? "" : `, ${
      when(decision.at)}`}.</p>
    <${Block} title="With these arguments" text=${decision.arguments} language="json" />
    <${Block} title="Message" text=${decision.message} tone="prose" /></div>`;
}

function Child({ record, step }) {
  const turns = step.children.filter(({ kind }) => kind === "turn").length;
  const spent = tokens(record.usage);
  return html`
    <h3>Child RLM</h3>
    <p class="hint">Depth ${record.depth}, ${plain(record.model ?? "model unknown")},
      ${" "}${many(turns, "turn")}, ${plain(record.state ?? "")}
      ${record.stop_reason ? html` (${plain(record.stop_reason)})` : ""}${spent.calls
        ? `, ${costOf(spent)} with all below it` : ""}.
      ${" "}${turns > 0 && html`<button class="link" onClick=${() => {
        store.fold(step.id, true);
        store.pick(step.children[0].id);
      }}>Go to its steps</button>`}</p>
    <${Block} title="Its question" text=${record.question} tone="prose" />
    <${Block} title="Its instructions" text=${record.instructions} tone="prose" open=${false} />
    ${step.kind === "rlm" && html`<${Block} title="Its answer" text=${record.answer} tone="prose" />`}`;
}

/** What came of a batch, in figures. */
function Batch({ step, record }) {
  const replies = step.children.filter((child) => child.kind === "reply");
  const took = replies.map(({ record: r }) => r.seconds).filter((s) => s != null).sort((a, b) => a - b);
  const failed = replies.filter((reply) => moodOf(reply) === "bad");
  const spent = { calls: 0, unpriced: 0, cost: 0, input: 0, output: 0 };
  for (const { record: r } of replies) {
    for (const [key, value] of Object.entries(tokens(r.usage))) spent[key] += value;
  }
  return html`
    <dl class="figures">
      <div><dt>items</dt><dd>${count(record.items)}</dd></div>
      <div><dt>answered</dt><dd>${count(replies.filter(({ to }) => to != null).length)}</dd></div>
      <div><dt>failed</dt><dd>${count(failed.length)}</dd></div>
      ${spent.calls > 0 && html`<div><dt>cost</dt><dd>${costOf(spent)}</dd></div>
        <div><dt>tokens</dt><dd>${short(spent.input)} in, ${short(spent.output)} out</dd></div>`}
      ${took.length > 0 && html`<div><dt>half took at most</dt>
        <dd>${seconds(took[Math.floor(took.length / 2)])}</dd></div>
        <div><dt>the slowest</dt><dd>${seconds(took.at(-1))}</dd></div>`}
    </dl>
    ${failed.length > 0 && html`<h3>Errors</h3><ul class="plain">${failed.slice(0, 20).map((reply) =>
      html`<li><button class="link" onClick=${() => store.pick(reply.id)}>
        ${plain(shortText(startOf(reply.record.error), 120))}</button></li>`)}</ul>
      ${failed.length > 20 && html`<p class="hint">${count(failed.length - 20)} more.</p>`}`}`;
}

function Raw({ step }) {
  const [isOpen, setOpen] = useState(false);
  const records = [step.record, step.reply, step.rlm].filter(
    (record, at, all) => record && all.indexOf(record) === at,
  );
  return html`
    <details class="block raw" onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary><span class="title">Record</span><span class="note">as it is in the data</span></summary>
      ${isOpen && records.map((record) => {
        const text = JSON.stringify(record, null, 2);
        return html`<div class="deeds"><${Copy} text=${text} name="Copy JSON" /></div>
          <${Long} text=${text} language="json" />`;
      })}
    </details>`;
}

