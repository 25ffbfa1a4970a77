// Fork: the run again from one place, with another text there. Only where there is a server, and
// only in the root RLM: a child is over when its answer is there.
import { html, useEffect, useState } from "./ui.js";
import { store } from "./store.js";
import { plain } from "./plain.js";
import { useDeed } from "./deed.js";

/**
 * @param record the question, turn or reply at whose place the fork begins.
 * @param text what is edited.
 * @param whole where `text` is only a part of what stands there: all of it.
 */
export function Fork({ record, text, whole, name }) {
  const [isOpen, setOpen] = useState(false);
  const [edited, setEdited] = useState("");
  const [{ isBusy, problem }, act] = useDeed();
  const { live, trace } = store;
  useEffect(() => setOpen(false), [record.id]);
  if (!live || !record.place || record.rlm !== trace.tree.root.rlm?.rlm) return null;
  const open = () => act(async () => {
    setEdited(await trace.texts.whole(text ?? ""));
    setOpen(true);
  });
  const submit = (event) => {
    event.preventDefault();
    act(async () => {
      const value = whole == null ? edited : await replaced(trace.texts, whole, text, edited);
      await live.fork({ place: record.place, value });
    });
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

/** The whole with one part of it replaced. */
async function replaced(texts, whole, part, by) {
  const [all, old] = [await texts.whole(whole), (await texts.whole(part)).trimEnd()];
  const at = all.indexOf(old);
  if (!old || at < 0) {
    throw new Error("The code does not stand in the reply as it is here: fork the turn instead.");
  }
  return all.slice(0, at) + by.trimEnd() + all.slice(at + old.length);
}
