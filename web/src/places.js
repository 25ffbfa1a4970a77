// Places: paths in the log of one RLM, and their order.

const NUMBERS = /\d+/g;

/** The numbers in a place: "2.0/3/17" gives [2, 0, 3, 17]. */
export const numbersOf = (place) => (String(place).match(NUMBERS) ?? []).map(Number);

/** Compare two places of one kind by their numbers. */
export function byPlace(one, other) {
  const [a, b] = [numbersOf(one), numbersOf(other)];
  for (let i = 0; i < Math.min(a.length, b.length); i += 1) {
    if (a[i] !== b[i]) return a[i] - b[i];
  }
  return a.length - b.length;
}

/** The place that a place stands in: "2.0/3/17" in "2.0/3", that in "2.0", that in "2". */
export function outer(place) {
  const at = Math.max(place.lastIndexOf("/"), place.lastIndexOf("."));
  return at < 0 ? null : place.slice(0, at);
}
