// Zoom: the stretch of folded time that is seen, [from, to], or null for all of it.

const LEAST = 0.002;

/** Zoom by a factor around a share of the width. */
export function zoomed(zoom, factor, share, axis) {
  const [from, to] = zoom ?? [0, axis.length];
  const around = from + (to - from) * share;
  const length = Math.max((to - from) * factor, Math.min(LEAST, axis.length));
  if (length >= axis.length) return null;
  return kept([around - length * share, around + length * (1 - share)], axis);
}

/** Move by a share of what is seen. */
export function panned(zoom, share, axis) {
  if (!zoom) return null;
  const by = (zoom[1] - zoom[0]) * share;
  return kept([zoom[0] + by, zoom[1] + by], axis);
}

function kept([from, to], axis) {
  const length = to - from;
  const start = Math.min(Math.max(0, from), axis.length - length);
  return [start, start + length];
}
