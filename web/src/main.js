// Main: read what the page begins with, and draw it.
import "./style.css";
import { html, render } from "./ui.js";
import { store } from "./store.js";
import { Texts } from "./texts.js";
import { Trace } from "./trace.js";
import { Live } from "./live.js";
import { App } from "./app.js";
import { followTheme, switchTheme } from "./theme.js";

/** The JSON of an element, or `otherwise` where the page has no such element. */
function dataOf(id, otherwise) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : otherwise;
}

function startFile(boot) {
  const texts = dataOf("texts", []);
  store.pictures = dataOf("pictures", {});
  store.traces = boot.traces.map(({ records, texts: own }, at) => {
    const trace = new Trace(new Texts(own ?? texts[at] ?? {}));
    trace.put(records);
    return trace;
  });
  store.read();
}

function startLive(boot) {
  store.mode = "live";
  store.live = new Live(boot);
  const asked = new URLSearchParams(location.hash.slice(1));
  const thread = asked.get("thread") ?? boot.thread;
  const hash = location.hash;
  if (thread) {
    store.live.open(thread, asked.get("checkpoint"));
    if (hash) store.readFrom(hash);
  } else store.set({ view: "threads" });
  store.live.listThreads();
}

function start() {
  const boot = dataOf("boot", null);
  const box = document.getElementById("app");
  followTheme(() => store.tell());
  store.theme = () => switchTheme(() => store.tell());
  if (boot.mode === "live") startLive(boot);
  else startFile(boot);
  const draw = () => render(html`<${App} />`, box);
  store.listen(draw);
  addEventListener("hashchange", () => {
    if (location.hash !== store.written) store.followAddress();
  });
  box.textContent = "";
  draw();
}

start();
