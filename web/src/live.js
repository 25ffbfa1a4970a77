// Live: what the page asks its own server, and how it follows a thread.
import { store } from "./store.js";
import { Texts } from "./texts.js";
import { Trace } from "./trace.js";

/** How often the list of threads is read, in milliseconds. */
const LIST_EVERY = 4_000;
/** How long records are gathered before the page takes them. */
const GATHER = 120;
/** How long after a stream was refused it is asked for again. */
const AGAIN = 3_000;

const threadPath = (thread) => `api/threads/${encodeURIComponent(thread)}`;

export class Live {
  constructor({ csrf, can_run: canRun }) {
    this.csrf = csrf;
    this.canRun = canRun;
    this.thread = null;
    this.checkpoint = null;
    this.threads = [];
    this.isListed = false; // to read the list takes a while where there are many threads
    this.state = { state: "", here: false, can_run: false, answers: {} };
    this.connection = "none";
    this.source = null;
  }

  /** Ask the server. Rejects with the server's own words. */
  async ask(path, body) {
    const options = { headers: { Accept: "application/json" } };
    if (body !== undefined) {
      options.method = "POST";
      options.headers["Content-Type"] = "application/json";
      options.headers["X-CSRF-Token"] = this.csrf;
      options.body = JSON.stringify(body);
    }
    const answer = await fetch(path, options);
    if (answer.ok) return answer;
    throw Object.assign(new Error(await reasonOf(answer)), { status: answer.status });
  }

  async post(path, body = {}) {
    return (await this.ask(path, body)).json();
  }

  /** Keep the list of threads up to date. */
  async listThreads() {
    try {
      const { threads } = await (await this.ask("api/threads")).json();
      this.threads = threads;
      this.isListed = true;
      this.listProblem = null;
    } catch (error) {
      this.listProblem = error.message;
    }
    store.tell();
    setTimeout(() => this.listThreads(), LIST_EVERY);
  }

  /** A trace whose texts come from the server. */
  newTrace(thread) {
    const fetchText = async (digest) =>
      (await this.ask(`${threadPath(thread)}/texts/${encodeURIComponent(digest)}`)).text();
    return new Trace(new Texts({}, fetchText));
  }

  /** Show a thread, or one branch of it, and follow it. */
  open(thread, checkpoint = null) {
    this.source?.close();
    clearTimeout(this.again);
    [this.thread, this.checkpoint] = [thread, checkpoint];
    this.state = { state: "", here: false, can_run: false, answers: {} };
    store.traces = [this.newTrace(thread)];
    store.set({ pick: null, region: null, zoom: null, folds: new Map(), problem: null });
    this.follow(store.traces[0]);
  }

  follow(trace) {
    const query = this.checkpoint ? `?checkpoint=${encodeURIComponent(this.checkpoint)}` : "";
    const source = new EventSource(`${threadPath(this.thread)}/events${query}`);
    this.source = source;
    this.connect("connecting");
    const gathered = gatherer(trace);
    const hear = (name, heard) =>
      source.addEventListener(name, (event) => heard(JSON.parse(event.data || "null")));
    source.addEventListener("open", () => this.connect("open"));
    source.addEventListener("error", () => this.lost(source, trace));
    hear("record", (records) => gathered.put([records].flat()));
    hear("gone", ({ ids }) => gathered.drop(ids));
    hear("reset", () => gathered.reset());
    hear("state", (state) => {
      this.state = { answers: {}, ...state };
      store.tell();
    });
    hear("failed", ({ message }) => {
      source.close();
      this.connect("closed");
      store.set({ problem: message });
    });
  }

  /** A browser connects again by itself, but not after it was refused. */
  lost(source, trace) {
    if (source.readyState !== EventSource.CLOSED) {
      this.connect("lost");
      return;
    }
    this.connect("lost");
    this.again = setTimeout(() => this.source === source && this.follow(trace), AGAIN);
  }

  connect(connection) {
    this.connection = connection;
    store.tell();
  }

  /** Read another run once, to compare it with. */
  async loadOther(thread, checkpoint) {
    const query = checkpoint ? `?checkpoint=${encodeURIComponent(checkpoint)}` : "";
    const answer = await this.ask(`${threadPath(thread)}/records${query}`);
    const lines = (await answer.text()).split("\n").filter(Boolean);
    const trace = this.newTrace(thread);
    trace.put(lines.map((line) => JSON.parse(line)));
    store.traces = [store.traces[0], trace];
    store.set({});
  }

  /** Answer a pause. Where somebody else has answered it, its card is gone: the page itself says so. */
  async answer(interrupt, decision) {
    try {
      const answers = { [interrupt]: decision };
      return await this.post(`${threadPath(this.thread)}/answers`, { answers });
    } catch (error) {
      if (error.status === 409) store.set({ problem: error.message });
      throw error;
    }
  }

  putQuestion(question) {
    return this.post(`${threadPath(this.thread)}/questions`, { question });
  }

  async newThread(question) {
    const { id } = await this.post("api/threads", { question });
    this.open(id);
    store.set({ view: "steps" });
  }

  /** Fork, follow the new branch, and keep the old one beside it. */
  async fork(change) {
    const before = store.trace;
    const checkpoint = before.about.checkpoint;
    // The stream follows the newest branch: it would put the fork's records into the old one.
    this.source?.close();
    try {
      await this.post(`${threadPath(this.thread)}/forks`, { checkpoint, ...change });
    } catch (error) {
      this.follow(before);
      throw error;
    }
    this.open(this.thread);
    store.traces = [store.trace, before];
    store.set({ view: "compare" });
  }

  proceed() {
    return this.post(`${threadPath(this.thread)}/continue`);
  }

  stop() {
    return this.post(`${threadPath(this.thread)}/stop`);
  }

  async contextText(digest, start, end) {
    const path = `${threadPath(this.thread)}/contexts/${encodeURIComponent(digest)}`;
    return (await this.ask(`${path}?start=${start}&end=${end}`)).text();
  }

  blobAddress(digest) {
    if (!digest || !this.thread) return null;
    return `${threadPath(this.thread)}/blobs/${encodeURIComponent(digest)}`;
  }
}

/** The server's reason, or what the answer says where it has none. */
async function reasonOf(answer) {
  const text = await answer.text();
  if (!(answer.headers.get("content-type") ?? "").includes("json")) {
    return `The server answered ${answer.status}: ${text.slice(0, 300)}`;
  }
  return JSON.parse(text).error?.message ?? `The server answered ${answer.status}.`;
}

/** Gather records for a moment: a page is not drawn for each. */
function gatherer(trace) {
  let [records, timer] = [[], null];
  const flush = () => {
    timer = null;
    if (records.length) trace.put(records);
    records = [];
    store.tell();
  };
  return {
    put(more) {
      records.push(...more);
      timer ??= setTimeout(flush, GATHER);
    },
    drop(ids) {
      const gone = new Set(ids);
      records = records.filter(({ id }) => !gone.has(id));
      trace.drop(ids);
      store.tell();
    },
    reset() {
      records = [];
      trace.drop([...trace.records.keys()]);
    },
  };
}
