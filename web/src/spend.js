// Spend: cost, tokens and sub-calls as the run spent them, against its limits.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { html, useRef, useState, useEffect, useSize, colour } from "./ui.js";
import { count, costOf, money, seconds, short, tokens } from "./say.js";
import { plain } from "./plain.js";

const KINDS = [
  { key: "cost", title: "Cost", limit: "max_cost", hue: "turn", say: money },
  { key: "tokens", title: "Tokens", limit: "max_tokens", hue: "call", say: short },
  { key: "sub_calls", title: "Sub-calls", limit: "max_sub_calls", hue: "rlm", say: short },
];

export function Spend({ trace, axis, theme }) {
  const { series } = trace.tree;
  const limits = trace.about.limits ?? {};
  return html`
    <section class="page spend" aria-label="Spend">
      <h2>What it spent, as time went by</h2>
      ${series.length > 1
        ? KINDS.map((kind) => html`<${Chart} key=${`${kind.key} ${theme}`} kind=${kind} series=${series}
            axis=${axis} limit=${limits[kind.limit] ?? null} />`)
        : html`<p class="hint">The log has no times and costs to draw: an earlier version wrote it,
            or nothing was spent yet.</p>`}
      <${Table} usage=${trace.about.usage} />
      <${Limits} limits=${limits} />
    </section>`;
}

/** A limit far above what was spent would flatten the line: below this share it is only said. */
const DRAWN_FROM = 0.15;

/** Points at folded seconds of work, so that a pause of days is no empty chart. */
function dataOf(series, axis, kind, limit) {
  const x = [0, ...series.map((point) => axis.fold(point.at))];
  const y = [0, ...series.map((point) => point[kind.key] ?? null)];
  return limit == null ? [x, y] : [x, y, x.map(() => limit)];
}

function Chart({ kind, series, axis, limit }) {
  const box = useRef(null);
  const chart = useRef(null);
  const [at, setAt] = useState(null);
  const { width } = useSize(box);
  const last = series.at(-1)[kind.key] ?? 0;
  const drawn = limit != null && last > limit * DRAWN_FROM ? limit : null;
  const data = dataOf(series, axis, kind, drawn);
  useEffect(() => {
    if (!width) return undefined;
    chart.current = new uPlot(optionsOf(kind, width, drawn, setAt), data, box.current);
    return () => chart.current.destroy();
  }, [width, drawn]);
  useEffect(() => chart.current?.setData(data), [series]);
  const share = limit == null ? "no limit" : `of ${kind.say(limit)}`;
  const here = at == null || data[0][at] == null ? ""
    : `after ${seconds(data[0][at])}: ${kind.say(data[1][at])}`;
  return html`<figure class="chart"><figcaption><b>${kind.title}</b>
      ${" "}${kind.say(last)} <span class="note">${share}</span>
      <span class="here">${here}</span></figcaption>
    <div ref=${box} role="img" aria-label=${`${kind.title} over time: ${kind.say(last)} ${share}`}></div>
  </figure>`;
}

function optionsOf(kind, width, limit, setAt) {
  const axis = { stroke: colour("soft"), font: "10px sans-serif", ticks: { show: false } };
  const grid = { stroke: colour("hair"), width: 1 };
  const lines = [{}, {
    stroke: colour(kind.hue), width: 1.5, fill: `${colour(kind.hue)}22`, points: { show: false },
    paths: uPlot.paths.stepped({ align: 1 }),
  }];
  if (limit != null) {
    lines.push({ stroke: colour("bad"), width: 1, dash: [5, 4], points: { show: false } });
  }
  return {
    width, height: 150, series: lines, legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "spend" } },
    hooks: { setCursor: [(plot) => setAt(plot.cursor.idx)] },
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, (most || 1) * 1.08] } },
    axes: [
      { ...axis, grid, size: 28, values: (_, all) => all.map((at) => (at ? seconds(at) : "0")) },
      { ...axis, grid, size: 58, values: (_, all) => all.map((at) => (at ? kind.say(at) : "0")) },
    ],
  };
}

function Table({ usage }) {
  const rows = Object.entries(usage?.breakdown ?? {}).sort(([a], [b]) => a.localeCompare(b));
  if (!rows.length) return null;
  return html`<h3>By depth and model</h3><div class="wide" tabindex="0" role="region"
    aria-label="By depth and model"><table class="facts-table numbers"><thead><tr>
      <th scope="col">Depth</th><th scope="col">Model</th><th scope="col">Calls</th>
      <th scope="col">Tokens in</th><th scope="col">Tokens out</th><th scope="col">Cost</th>
    </tr></thead><tbody>${rows.map(([key, part]) => html`<tr>
      <td>${plain(key.slice(0, key.indexOf("/")))}</td>
      <th scope="row">${plain(key.slice(key.indexOf("/") + 1))}</th>
      <td>${count(part.model_calls)}</td><td>${count(part.input_tokens)}</td>
      <td>${count(part.output_tokens)}</td>
      <td>${costOf(tokens({ breakdown: { one: part } }))}</td></tr>`)}</tbody></table></div>`;
}

function Limits({ limits }) {
  const set = Object.entries(limits).filter(([, value]) => value != null);
  if (!set.length) return null;
  return html`<h3>Limits</h3><dl class="figures">${set.map(([name, value]) => html`
    <div><dt>${plain(name)}</dt><dd>${typeof value === "number" ? count(value) : plain(value)}</dd>
    </div>`)}</dl>`;
}
