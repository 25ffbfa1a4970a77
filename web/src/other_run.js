// Other run: which run to compare with, where there is a server to ask for it.
import { html, useState } from "./ui.js";
import { store } from "./store.js";
import { plain, shortText } from "./plain.js";
import { startOf } from "./texts.js";
import { when } from "./say.js";

export function OtherRun({ isShort }) {
  const [problem, setProblem] = useState(null);
  if (!store.live) {
    return html`<p class="hint">This file holds one run. To compare two, name both:
      ${" "}<code>langgraph-rlm trace THREAD --compare OTHER --html out.html</code></p>`;
  }
  const branches = (store.trace?.about.branches ?? []).map((branch) => [
    `${store.live.thread} ${branch.checkpoint}`,
    `branch of ${when(branch.at)}: ${shortText(startOf(branch.question), 60)}`,
  ]);
  const threads = store.live.threads.filter(({ id }) => id !== store.live.thread)
    .map(({ id, question }) => [`${id} `, `${id}: ${shortText(startOf(question), 60)}`]);
  const pick = async (event) => {
    const [thread, checkpoint] = event.currentTarget.value.split(" ");
    if (!thread) return;
    try {
      await store.live.loadOther(thread, checkpoint || null);
      setProblem(null);
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<label class="other">${isShort ? "Another:" : "Compare this run with"}
    ${" "}<select onChange=${pick}><option value="">choose a branch or thread</option>
      ${[...branches, ...threads].map(([value, words]) =>
        html`<option value=${value}>${plain(words)}</option>`)}</select>
    ${problem && html`<span class="problem" role="alert">${plain(problem)}</span>`}</label>`;
}
