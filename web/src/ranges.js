// Ranges: sorted pairs [start, end) of bytes, as the coverage records have them.

/** The range that a byte stands in, or null. */
export function rangeAt(ranges, at) {
  let [low, high] = [0, ranges.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const [start, end] = ranges[middle];
    if (at < start) high = middle - 1;
    else if (at >= end) low = middle + 1;
    else return ranges[middle];
  }
  return null;
}

export const sizeOf = (ranges) => ranges.reduce((sum, [start, end]) => sum + end - start, 0);

/** What the ranges leave out of [0, size). */
export function gapsOf(ranges, size) {
  const gaps = [];
  let done = 0;
  for (const [start, end] of ranges) {
    if (start > done) gaps.push([done, start]);
    done = Math.max(done, end);
  }
  if (done < size) gaps.push([done, size]);
  return gaps;
}

/** All ends of ranges within [from, to], sorted, with both ends. */
export function cutsOf(lists, from, to) {
  const cuts = new Set([from, to]);
  for (const ranges of lists) {
    for (const [start, end] of ranges) {
      if (end < from) continue;
      if (start > to) break;
      for (const at of [start, end]) if (at > from && at < to) cuts.add(at);
    }
  }
  return [...cuts].sort((a, b) => a - b);
}

/** How much of each pixel the ranges cover, 0 to 1. */
export function pixelsOf(ranges, size, width) {
  const shares = new Float32Array(width);
  const bytesEach = size / width;
  for (const [start, end] of ranges) {
    const [first, last] = [start / bytesEach, end / bytesEach];
    for (let at = Math.floor(first); at < Math.min(width, Math.ceil(last)); at += 1) {
      shares[at] += Math.min(last, at + 1) - Math.max(first, at);
    }
  }
  return shares;
}
