// Virtual: which rows of a long list are elements. All rows are equally high.
import { useState, useCallback } from "./ui.js";

export const ROW = 26;
/** Rows made beyond each end of what can be seen, so that a scroll finds them there. */
const AROUND = 8;
/** The window moves by this many rows at once, so that most scrolls draw nothing. */
const BY = 4;

/**
 * `{first, last, slots, scrolled}`: the rows to make, how many there are at most, and what hears
 * the list scroll. Row N is made in slot N % slots: a scroll fills few elements anew and makes none.
 */
export function useWindow(height, total) {
  const [at, setAt] = useState(0);
  const scrolled = useCallback(
    (event) => setAt(Math.floor(event.currentTarget.scrollTop / ROW / BY) * BY), [],
  );
  const shown = Math.ceil(height / ROW) + BY;
  const first = Math.max(0, Math.min(at, total) - AROUND);
  const last = Math.max(first, Math.min(total, at + shown + AROUND));
  return { first, last, slots: shown + 2 * AROUND, scrolled };
}
