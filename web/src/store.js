// Store: what the reader has chosen to see. It tells who listens, once a frame, and keeps the
// address's hash, so that any place has a link, in a file too.

const VIEWS = ["steps", "coverage", "spend", "compare", "threads"];

class Store {
  constructor() {
    this.listeners = new Set();
    this.isAsked = false;
    this.written = null;
    /** The traces: the first is the one that is shown, the second is compared with it. */
    this.traces = [];
    this.mode = "static";
    this.live = null;
    /** Pictures of a file: {type, base64} by digest. */
    this.pictures = {};
    this.state = {
      view: "steps", pick: null, find: "", region: null, zoom: null, folds: new Map(),
      isHelp: false, isFinding: false, drawer: false, problem: null,
    };
  }

  get trace() {
    return this.traces[0] ?? null;
  }

  listen(heard) {
    this.listeners.add(heard);
    return () => this.listeners.delete(heard);
  }

  /** Change what is seen. */
  set(change) {
    const isOther = change.view && change.view !== this.state.view;
    this.state = { ...this.state, ...change };
    this.write(isOther);
    this.tell();
  }

  /** Have the page drawn again, soon and once. */
  tell() {
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame(() => {
      this.isAsked = false;
      for (const heard of [...this.listeners]) heard();
    });
  }

  /** Pick a step, unfold what it stands in, and show its details. */
  pick(id, { isMove = false } = {}) {
    const view = isMove ? this.state.view : "steps";
    this.set({ pick: id, folds: this.unfolded(id), view, drawer: !isMove });
  }

  /** Unfold what the picked step stands in: it may have come after it was picked. */
  reveal() {
    this.set({ folds: this.unfolded(this.state.pick) });
  }

  unfolded(id) {
    const folds = new Map(this.state.folds);
    for (let at = this.trace?.tree.of(id)?.parent; at?.parent; at = at.parent) folds.set(at.id, true);
    return folds;
  }

  fold(id, isOpen) {
    this.set({ folds: new Map(this.state.folds).set(id, isOpen) });
  }

  /** The hash that leads here. */
  hash(state = this.state) {
    const parts = new URLSearchParams();
    if (this.live?.thread) parts.set("thread", this.live.thread);
    if (this.live?.checkpoint) parts.set("checkpoint", this.live.checkpoint);
    if (state.view !== "steps") parts.set("view", state.view);
    if (state.pick) parts.set("at", state.pick);
    if (state.find) parts.set("find", state.find);
    if (state.region) parts.set("in", `${state.region.digest}:${state.region.at}`);
    return `#${parts}`;
  }

  /** A browser slows down pages that set their address often: so it is set after a while. A frame
   * of a notebook has no address of its own, and a new one would load another page into it. */
  write(isOther) {
    clearTimeout(this.timer);
    if (location.protocol === "about:") return;
    const write = () => {
      const hash = this.hash();
      if (hash === (location.hash || "#")) return;
      this.written = hash;
      if (isOther) location.hash = hash;
      else location.replace(hash);
    };
    if (isOther) write();
    else this.timer = setTimeout(write, 200);
  }

  /** Take what the address says. */
  read() {
    this.readFrom(location.hash);
  }

  readFrom(hash) {
    const parts = new URLSearchParams(hash.slice(1));
    const [digest, at] = (parts.get("in") ?? "").split(":");
    const region = digest ? { digest, at: Number(at) || 0 } : null;
    const view = VIEWS.includes(parts.get("view")) ? parts.get("view") : "steps";
    this.set({ view, region, find: parts.get("find") ?? "" });
    if (parts.get("at")) this.pick(parts.get("at"), { isMove: true });
  }

  /** The reader has changed the address, or gone back: another thread, or another place. */
  followAddress() {
    const hash = location.hash;
    const parts = new URLSearchParams(hash.slice(1));
    const thread = parts.get("thread");
    if (this.live && thread && thread !== this.live.thread) {
      this.live.open(thread, parts.get("checkpoint"));
    }
    this.readFrom(hash);
  }
}

export const store = new Store();
