// Virtual: which rows of a long list are elements. All rows are equally high.
import { useState, useCallback } from "./ui.js";

export const ROW = 26;
/** Rows made beyond each end of what can be seen, so that a scroll finds them there. */
const AROUND = 12;
/** The window moves by this many rows at once, so that most scrolls draw nothing. */
const BY = 6;

/** `[first, last, scrolled]`: the rows to make, and what hears the list scroll. */
export function useWindow(height, total) {
  const [at, setAt] = useState(0);
  const scrolled = useCallback(
    (event) => setAt(Math.floor(event.currentTarget.scrollTop / ROW / BY) * BY), [],
  );
  const first = Math.max(0, Math.min(at, total) - AROUND);
  const last = Math.min(total, at + Math.ceil(height / ROW) + BY + AROUND);
  return [first, Math.max(first, last), scrolled];
}
