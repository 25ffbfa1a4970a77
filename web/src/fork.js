// Fork: the run again from one place, with another text there. Only where there is a server.
import { html, useEffect, useState } from "./ui.js";
import { store } from "./store.js";
import { plain } from "./plain.js";
import { useDeed } from "./deed.js";

/**
 * @param place where the fork begins, in the log of its RLM.
 * @param text what stands there now; null where nothing does.
 * @param rlm the RLM whose place it is; the root where it is left out.
 */
export function Fork({ place, text, rlm, name }) {
  const [isOpen, setOpen] = useState(false);
  const [edited, setEdited] = useState("");
  const [{ isBusy, problem }, act] = useDeed();
  useEffect(() => setOpen(false), [place, rlm]);
  if (!store.live) return null;
  const open = () => act(async () => {
    setEdited(await store.trace.texts.whole(text ?? ""));
    setOpen(true);
  });
  const isRoot = !rlm || rlm === store.trace.tree.root.rlm?.rlm;
  const change = { place, value: edited, ...(isRoot ? {} : { rlm }) };
  const submit = (event) => {
    event.preventDefault();
    act(() => store.live.fork(change));
  };
  return html`<div class="fork">
    ${!isOpen && html`<button onClick=${open} disabled=${isBusy}>⑂ ${name}</button>`}
    ${isOpen && html`<form onSubmit=${submit}><label>${name}: the run goes on from here in a branch of
        its own, and this one stays
      <textarea rows="10" value=${edited} spellcheck=${false}
        onInput=${(event) => setEdited(event.currentTarget.value)}></textarea></label>
      <p><button class="main" type="submit" disabled=${isBusy}>Fork here</button>
        ${" "}<button type="button" onClick=${() => setOpen(false)}>Cancel</button></p></form>`}
    ${problem && html`<p class="problem" role="alert">${plain(problem)}</p>`}</div>`;
}
