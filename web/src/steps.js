// Steps: the list of all steps with a bar for each on the time line beside it.
//
// Only the rows on the screen, and a few around them, are elements or are drawn.
import { html, useRef, useState, useLayoutEffect, useEffect, useMemo, useSize, cls, once } from "./ui.js";
import { store } from "./store.js";
import { moodOf, hueOf, wordsOf, tailOf } from "./rows.js";
import { drawBars } from "./bars.js";
import { ROW, useWindow } from "./virtual.js";
import { zoomed, panned } from "./zoom.js";

export function Steps({ rows, axis, zoom, pick, hits, split }) {
  const box = useRef(null);
  const size = useSize(box);
  const { first, last, slots, scrolled } = useWindow(size.height, rows.length);
  const seen = rows.slice(first, last);
  const width = Math.max(0, size.width - split);
  const at = useMemo(() => rows.findIndex((row) => row.step.id === pick), [rows, pick]);
  useEffect(() => keepInSight(box.current, at), [pick, at]);
  const drag = useDrag(box, axis, split, width);
  return html`
    <div class=${cls("steps", drag.isOn && "dragged")} ref=${box} role="tree" tabindex="0"
      aria-label="Steps" aria-activedescendant=${at >= first && at < last ? `row-${at}` : null}
      onScroll=${scrolled}
      onPointerDown=${drag.start}
      style=${{ "--split": `${split}px` }}>
      <div class="sheet" role="presentation" style=${{ height: `${rows.length * ROW}px` }}>
        <${Bars} rows=${seen} first=${first} width=${width} axis=${axis} zoom=${zoom}
          pick=${pick} split=${split} />
        ${seen.map((row) => html`<${Row} key=${row.index % slots} row=${row}
          isPicked=${row.step.id === pick} isHit=${hits?.has(row.step.id) ?? false} />`)}
      </div>
    </div>`;
}

const Row = once(({ row, isPicked, isHit }) => {
  const { step, level, open, index } = row;
  const [name, said] = wordsOf(step);
  const has = step.children.length > 0;
  const mood = moodOf(step);
  return html`
    <div id=${`row-${index}`} role="treeitem" aria-level=${level + 1}
      aria-selected=${isPicked} aria-expanded=${has ? open : null}
      class=${cls("row", `k-${step.kind}`, isPicked && "picked", isHit && "hit")}
      data-id=${step.id} style=${{ transform: `translateY(${index * ROW}px)` }}
      onClick=${(event) => clicked(event, row)}
      onDblClick=${() => has && store.fold(step.id, !open)}>
      <span class="label" style=${{ paddingLeft: `${8 + Math.min(level, 14) * 14}px` }}>
        <span class="twist" aria-hidden="true">${twist(has, open)}</span>
        <span class=${cls("dot", `h-${hueOf(step)}`, mood)} aria-hidden="true"></span>
        <span class="name">${name}</span>
        <span class="said" dir="auto">${said}</span>
        ${mood && html`<span class=${cls("mood", mood)}>${MOODS[mood]}</span>`}
        <span class="tail">${tailOf(step)}</span>
      </span>
    </div>`;
});

const MOODS = { bad: "failed", waits: "waits", open: "open" };

const twist = (has, open) => (has ? (open ? "▾" : "▸") : "");

function clicked(event, { step, open }) {
  if (event.target.className === "twist" && step.children.length) store.fold(step.id, !open);
  else store.pick(step.id);
}

/** One canvas beneath the rows that are drawn: it scrolls with them. */
function Bars({ rows, first, width, axis, zoom, pick, split }) {
  const canvas = useRef(null);
  const height = rows.length * ROW;
  useLayoutEffect(() => {
    if (width > 0 && height > 0) drawBars(canvas.current, { rows, axis, zoom, pick, width, height });
  });
  const style = {
    left: `${split}px`, width: `${width}px`, height: `${height}px`,
    transform: `translateY(${first * ROW}px)`,
  };
  return html`<canvas class="bars" ref=${canvas} style=${style} aria-hidden="true"></canvas>`;
}

/** Scroll so that the picked row can be seen, and no further. */
function keepInSight(box, at) {
  if (at < 0) return;
  const [top, bottom] = [at * ROW, (at + 1) * ROW];
  if (top < box.scrollTop) box.scrollTop = Math.max(0, top - ROW * 2);
  else if (bottom > box.scrollTop + box.clientHeight) {
    box.scrollTop = bottom - box.clientHeight + ROW * 2;
  }
}

/** Drag the time line to pan it, and turn the wheel with Ctrl or Shift to zoom or pan. */
function useDrag(box, axis, split, width) {
  const [isOn, setOn] = useState(false);
  useEffect(() => {
    const element = box.current;
    const turned = (event) => wheel(event, axis, split, width);
    element.addEventListener("wheel", turned, { passive: false });
    return () => element.removeEventListener("wheel", turned);
  }, [axis, split, width]);
  const start = (event) => {
    if (event.pointerType !== "mouse" || event.button !== 0) return;
    const x = event.clientX - box.current.getBoundingClientRect().left;
    if (x < split || !store.state.zoom) return;
    follow(event, (dx) => store.set({ zoom: panned(store.state.zoom, -dx / width, axis) }), setOn);
  };
  return { isOn, start };
}

function wheel(event, axis, split, width) {
  const x = event.clientX - event.currentTarget.getBoundingClientRect().left - split;
  if (x < 0 || width <= 0) return;
  if (event.ctrlKey || event.metaKey || event.altKey) {
    event.preventDefault();
    const factor = Math.exp(event.deltaY / 300);
    store.set({ zoom: zoomed(store.state.zoom, factor, x / width, axis) });
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    const by = (event.deltaX || event.deltaY) / width;
    store.set({ zoom: panned(store.state.zoom, by, axis) });
  }
}

/** Tell how far a pointer has moved since the last time, until it is let go. */
export function follow(event, moved, setOn) {
  let before = event.clientX;
  const move = (now) => {
    moved(now.clientX - before);
    before = now.clientX;
    setOn(true);
  };
  const end = () => {
    removeEventListener("pointermove", move);
    setOn(false);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end, { once: true });
}
