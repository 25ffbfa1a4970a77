// Numbers, times and kinds in words. Nothing here makes markup.
import { table } from "./ui.js";

const whole = new Intl.NumberFormat("en");

/** 12345 as "12,345". */
export const count = (number) => whole.format(number ?? 0);

/** "1 call", "2 calls". */
export const many = (number, one, several = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : several}`;

/** 1234567 as "1.23 M": at most three digits, for narrow places. */
export function short(number) {
  if (number < 10_000) return count(number);
  if (number < 1e6) return `${(number / 1e3).toPrecision(3)} k`;
  if (number < 1e9) return `${(number / 1e6).toPrecision(3)} M`;
  return `${(number / 1e9).toPrecision(3)} G`;
}

/** USD, with as many digits as small sums need. */
export function money(usd) {
  if (!usd) return "$0";
  if (usd < 0.0001) return "<$0.0001";
  if (usd < 0.01) return `$${usd.toFixed(4)}`;
  if (usd < 1) return `$${usd.toFixed(3)}`;
  return `$${usd.toFixed(2)}`;
}

/** Bytes as "1.2 MB". */
export function bytes(size) {
  if (size < 1000) return `${count(size)} B`;
  if (size < 1e6) return `${(size / 1e3).toPrecision(3)} kB`;
  if (size < 1e9) return `${(size / 1e6).toPrecision(3)} MB`;
  return `${(size / 1e9).toPrecision(3)} GB`;
}

/** Seconds as "0.24 s", "3 min 20 s", "2 h 5 min" or "3 d 4 h". */
export function seconds(time) {
  if (time < 0.0005) return "0 s";
  if (time < 1) return `${Math.round(time * 1000)} ms`;
  if (time < 60) return `${time.toFixed(time < 10 ? 1 : 0)} s`;
  if (time < 3600) return `${Math.floor(time / 60)} min ${Math.round(time % 60)} s`;
  if (time < 86400) return `${Math.floor(time / 3600)} h ${Math.round((time % 3600) / 60)} min`;
  return `${Math.floor(time / 86400)} d ${Math.round((time % 86400) / 3600)} h`;
}

const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Epoch seconds as the reader's own date and time. */
export const when = (at) => (at == null ? "" : stamp.format(new Date(at * 1000)));

/** A share as "83 %", never rounded up to all or down to nothing. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "<1 %";
  if (share < 1 && share > 0.995) return ">99 %";
  return `${Math.round(share * 100)} %`;
}

/** Tokens of a usage: those in and those out, details left aside. */
export function tokens(usage) {
  const total = { input: 0, output: 0, cost: 0, calls: 0, unpriced: 0 };
  for (const part of Object.values(usage?.breakdown ?? {})) {
    total.input += part.input_tokens ?? 0;
    total.output += part.output_tokens ?? 0;
    total.cost += part.cost ?? 0;
    total.calls += part.model_calls ?? 0;
    total.unpriced += part.unpriced_calls ?? 0;
  }
  return total;
}

/** The cost in words: "unknown" where no call has a price, "at least" where some have none. */
export function costOf(spent) {
  if (spent.calls && spent.unpriced === spent.calls) return "price unknown";
  return spent.unpriced ? `≥ ${money(spent.cost)}` : money(spent.cost);
}

export const STATE_WORDS = table({
  done: "done", paused: "paused", running: "running", stopped: "stopped",
});
