// Long: a text as it is, its first part at once and the rest when it is asked for.
import { html, useState, useEffect, cls } from "./ui.js";
import { store } from "./store.js";
import { isRef, lengthOf, startOf, shown } from "./texts.js";
import { plain } from "./plain.js";
import { coloured } from "./code.js";
import { count } from "./say.js";

const FIRST = 3_000;
const MORE = 40_000;

/** Load a text: `[text so far, problem, load]`. It loads at once unless it is long. */
export function useText(text, isWanted = true) {
  const { texts } = store.trace;
  const here = texts.now(text);
  const [got, setGot] = useState({ of: null, text: undefined, problem: null });
  const key = isRef(text) ? text.ref : null;
  useEffect(() => {
    if (here !== undefined || !isWanted || key === null) return undefined;
    let isOld = false;
    texts.whole(text).then(
      (whole) => isOld || setGot({ of: key, text: whole, problem: null }),
      (error) => isOld || setGot({ of: key, text: undefined, problem: error.message }),
    );
    return () => (isOld = true);
  }, [key, isWanted, here === undefined]);
  const problem = got.of === key ? got.problem : null;
  return [here ?? (got.of === key ? got.text : undefined), problem];
}

/** A text with its heading. Nothing where there is no text. */
export function Block({ title, text, language, tone, open = true, note, action }) {
  const value = shown(text);
  if (value == null || lengthOf(value) === 0) return null;
  return html`
    <details class=${cls("block", tone)} open=${open}>
      <summary><span class="title">${title}</span>
        <span class="note">${note ?? ""} ${count(lengthOf(value))} characters</span></summary>
      <div class="deeds"><${Copy} text=${value} />${action}</div>
      <${Long} text=${value} language=${language} />
    </details>`;
}

export function Long({ text, language }) {
  const [most, setMost] = useState(FIRST);
  useEffect(() => setMost(FIRST), [isRef(text) ? text.ref : text]);
  const [whole, problem] = useText(text);
  const here = whole ?? startOf(text);
  const part = here.length > most ? cut(here, most) : here;
  const left = lengthOf(text) - part.length;
  return html`
    <pre class="text" dir="auto" tabindex="0" role="region" aria-label="Text"
      >${language ? coloured(part, language) : plain(part)}</pre>
    ${problem && html`<p class="problem">${plain(problem)}
      The first ${count(part.length)} of ${count(lengthOf(text))} characters stand above.</p>`}
    ${!problem && left > 0 && html`<p class="more">
      <button onClick=${() => setMost(most + MORE)}>Show ${count(Math.min(left, MORE))} more</button>
      of ${count(left)} characters left</p>`}`;
}

/** Cut so that no pair of surrogates is torn. */
function cut(text, most) {
  const code = text.charCodeAt(most - 1);
  return text.slice(0, code >= 0xd800 && code < 0xdc00 ? most - 1 : most);
}

/** A button that puts a text on the clipboard, and says whether it did. */
export function Copy({ text, name = "Copy" }) {
  const [said, setSaid] = useState(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(await store.trace.texts.whole(text));
      setSaid("Copied");
    } catch (error) {
      setSaid(`Not copied: ${error.message}`);
    }
    setTimeout(() => setSaid(null), 2000);
  };
  return html`<button class="quiet" onClick=${copy} aria-live="polite">${said ?? name}</button>`;
}
