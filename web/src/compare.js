// Compare: two runs side by side, what differs marked.
import { html, useEffect, useMemo, useRef, useSize, useState, cls } from "./ui.js";
import { diffLines, diffWordsWithSpace } from "diff";
import { store } from "./store.js";
import { plain } from "./plain.js";
import { ROW, useWindow } from "./virtual.js";
import { fieldsOf, pairsOf, signOf } from "./pairs.js";
import { wordsOf, hueOf } from "./rows.js";
import { shown, startOf } from "./texts.js";
import { costOf, count, many, percent, seconds, short, tokens } from "./say.js";
import { OtherRun } from "./other_run.js";

export function Compare({ traces }) {
  const [one, other] = traces;
  if (!other) return html`<section class="page" aria-label="Compare"><h2>Compare</h2><${OtherRun} />
    </section>`;
  return html`<${Both} one=${one} other=${other} />`;
}

function Both({ one, other }) {
  const [isAll, setAll] = useState(false);
  const [chosen, setPicked] = useState(null);
  const pairs = useMemo(() => pairsOf(one.tree, other.tree), [one.version, other.version, one, other]);
  const rows = isAll ? pairs : pairs.filter((pair) => pair.differs);
  const picked = rows.includes(chosen) ? chosen : rows.find((pair) => !pair.isSame) ?? null;
  const differ = pairs.filter((pair) => !pair.isSame).length;
  return html`
    <section class="compare" aria-label="Compare">
      <${Totals} one=${one} other=${other} />
      <p class="tools">${many(differ, "step differs", "steps differ")} of ${count(pairs.length)}.
        <label><input type="checkbox" checked=${isAll} onChange=${() => setAll(!isAll)} />
          ${" "}also those that are the same</label>
        ${store.live && html`<${OtherRun} isShort=${true} />`}</p>
      <div class="split">
        <${Pairs} rows=${rows} picked=${picked} onPick=${setPicked} />
        ${picked && html`<${Differences} pair=${picked} one=${one} other=${other} />`}
      </div>
    </section>`;
}

function Totals({ one, other }) {
  const [left, right] = [one, other].map(figures);
  return html`<table class="facts-table totals"><thead><tr><th></th><th scope="col">This run</th>
    <th scope="col">The other</th></tr></thead><tbody>${left.map(([name, value], i) => html`
      <tr class=${value === right[i][1] ? "" : "differs"}><th scope="row">${name}</th>
        <td>${plain(value)}</td><td>${plain(right[i][1])}</td></tr>`)}</tbody></table>`;
}

function figures({ about, tree }) {
  const [spent, usage] = [tokens(about.usage), about.usage ?? {}];
  const seen = tree.seenShare;
  return [
    ["Run", `${about.thread ?? "?"} ${(about.checkpoint ?? "").slice(-6)}`],
    ["State", `${about.state ?? "?"} ${about.stop_reason ?? ""}`],
    ["Cost", costOf(spent)],
    ["Tokens", `${short(spent.input)} in, ${short(spent.output)} out`],
    ["Turns and sub-calls", `${count(usage.turns ?? 0)}, ${count(usage.sub_calls ?? 0)}`],
    ["Worked", usage.seconds == null ? "unknown" : seconds(usage.seconds)],
    ["RLMs", count(tree.rlms.size)],
    ["Seen by models", seen == null ? "not known" : percent(seen)],
  ];
}

function Pairs({ rows, picked, onPick }) {
  const box = useRef(null);
  const { height } = useSize(box);
  const { first, last, scrolled } = useWindow(height, rows.length);
  const keys = (event) => {
    const by = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!by || !rows.length) return;
    event.preventDefault();
    event.stopPropagation();
    const at = Math.min(rows.length - 1, Math.max(0, rows.indexOf(picked) + by));
    onPick(rows[at]);
    box.current.scrollTop = Math.max(0, at * ROW - height / 2);
  };
  const at = rows.indexOf(picked);
  return html`<div class="steps pairs" ref=${box} onScroll=${scrolled} onKeyDown=${keys}
      role="listbox" tabindex="0" aria-label="Steps of both"
      aria-activedescendant=${at >= first && at < last ? `pair-${at}` : null}>
    <div class="sheet" role="presentation" style=${{ height: `${rows.length * ROW}px` }}>
      ${rows.slice(first, last).map((row, i) => html`<${Pair} key=${first + i} row=${row}
        index=${first + i} isPicked=${row === picked} onPick=${onPick} />`)}
    </div></div>`;
}

const markOf = ({ left, right, isSame, differs }) => {
  if (!left) return ["only there", "add"];
  if (!right) return ["only here", "del"];
  if (!isSame) return ["differs", "chg"];
  return differs ? ["holds them", "same"] : ["same", "same"];
};

function Pair({ row, index, isPicked, onPick }) {
  const step = row.left ?? row.right;
  const [words, mark] = markOf(row);
  return html`<div id=${`pair-${index}`} class=${cls("row pair", mark, isPicked && "picked")}
      role="option" aria-selected=${isPicked} onClick=${() => onPick(row)}
      style=${{ transform: `translateY(${index * ROW}px)` }}>
    <span class="label" style=${{ paddingLeft: `${8 + row.level * 12}px` }}>
      <span class=${`dot h-${hueOf(step)}`} aria-hidden="true"></span>
      <span class="name">${wordsOf(step)[0]}</span><span class=${`mood ${mark}`}>${words}</span></span>
    <span class="side">${row.left ? wordsOf(row.left)[1] : ""}</span>
    <span class="side">${row.right ? wordsOf(row.right)[1] : ""}</span></div>`;
}

function Differences({ pair, one, other }) {
  const [lefts, rights] = [fieldsOf(pair.left), fieldsOf(pair.right)];
  const names = (lefts.length ? lefts : rights).map(([key, name]) => [key, name]);
  const step = pair.left ?? pair.right;
  return html`<section class="details" aria-label="What differs">
    <h2>${plain(wordsOf(step)[0])} <code class="place">${plain(step.record.place ?? "")}</code></h2>
    ${names.map(([key, name], i) => {
      const [left, right] = [lefts[i]?.[2], rights[i]?.[2]];
      if (left == null && right == null) return null;
      return html`<h3>${name}</h3><${Field} key=${key} left=${left} right=${right} one=${one}
        other=${other} />`;
    })}</section>`;
}

/** Longer texts are compared by lines: words would take too long. */
const MOST_WORDS = 20_000;
const MOST_MS = 400;

function Field({ left, right, one, other }) {
  const [texts, setTexts] = useState(null);
  useEffect(() => {
    let isOld = false;
    const both = [one.texts.whole(shown(left) ?? ""), other.texts.whole(shown(right) ?? "")];
    Promise.all(both).then(
      (got) => isOld || setTexts(got),
      () => isOld || setTexts([startOf(left), startOf(right)]),
    );
    return () => (isOld = true);
  }, [signOf(left), signOf(right)]);
  if (!texts) return html`<p class="hint">Loading …</p>`;
  const parts = partsOf(...texts);
  if (!parts) return html`<p class="hint">Too different to compare word by word.</p>
    <div class="sides"><pre class="text">${plain(texts[0].slice(0, 20_000))}</pre>
      <pre class="text">${plain(texts[1].slice(0, 20_000))}</pre></div>`;
  return html`<div class="sides">
    <pre class="text" tabindex="0" role="region" aria-label="This run">${parts.map((part) =>
      !part.added && html`<span class=${part.removed && "del"}>${plain(part.value)}</span>`)}</pre>
    <pre class="text" tabindex="0" role="region" aria-label="The other">${parts.map((part) =>
      !part.removed && html`<span class=${part.added && "add"}>${plain(part.value)}</span>`)}</pre>
  </div>`;
}

function partsOf(left, right) {
  if (left === right) return [{ value: left.slice(0, 20_000) }];
  const isLong = left.length + right.length > MOST_WORDS;
  const diff = isLong ? diffLines : diffWordsWithSpace;
  return diff(left.slice(0, 400_000), right.slice(0, 400_000), { timeout: MOST_MS });
}
