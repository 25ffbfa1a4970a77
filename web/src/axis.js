// Axis: seconds to pixels, with the time in which nothing worked folded to a narrow gap.

/** How much of the working time a gap gets, at most. */
const GAP = 0.04;

export class Axis {
  /**
   * @param span {from, to} of all steps, or null.
   * @param runs the invocations: {from, to, ended}.
   */
  constructor(span, runs, now) {
    this.parts = partsOf(span, runs, now);
    this.length = this.parts.length ? this.parts.at(-1).end : 1;
  }

  get isEmpty() {
    return this.parts.length === 0;
  }

  /** Folded seconds of an epoch second. */
  fold(at) {
    for (const part of this.parts) {
      if (at <= part.to) {
        const share = part.to > part.from ? (at - part.from) / (part.to - part.from) : 0;
        return part.start + Math.max(0, share) * (part.end - part.start);
      }
    }
    return this.length;
  }

  /** The epoch second of folded seconds. */
  unfold(folded) {
    for (const part of this.parts) {
      if (folded <= part.end) {
        const share = part.end > part.start ? (folded - part.start) / (part.end - part.start) : 0;
        return part.from + share * (part.to - part.from);
      }
    }
    return this.parts.at(-1)?.to ?? 0;
  }
}

function partsOf(span, runs, now) {
  if (!span) return [];
  const works = joined(span, runs, now);
  const busy = works.reduce((sum, [from, to]) => sum + to - from, 0) || 1;
  const parts = [];
  let start = 0;
  works.forEach(([from, to, ended], i) => {
    if (i > 0) {
      const gap = { from: works[i - 1][1], to: from, isGap: true, ended: works[i - 1][2] };
      start = grow(parts, gap, start, Math.min(from - gap.from, busy * GAP));
    }
    start = grow(parts, { from, to, ended }, start, Math.max(to - from, busy * 0.002));
  });
  return parts;
}

function grow(parts, part, start, length) {
  parts.push({ ...part, start, end: start + length });
  return start + length;
}

/** The invocations as stretches that do not touch; all of the span where none is known. */
function joined(span, runs, now) {
  const known = (runs ?? []).filter((run) => run.from != null);
  if (!known.length) return [[span.from, span.to, null]];
  const stretches = known
    .map((run) => [run.from, run.to ?? Math.max(now, run.from), run.ended])
    .sort((a, b) => a[0] - b[0]);
  stretches[0][0] = Math.min(stretches[0][0], span.from);
  const last = stretches.at(-1);
  last[1] = Math.max(last[1], span.to);
  const kept = [];
  for (const [from, to, ended] of stretches) {
    const before = kept.at(-1);
    if (before && from <= before[1]) {
      before[1] = Math.max(before[1], to);
      before[2] = ended;
    } else kept.push([from, to, ended]);
  }
  return kept;
}

/** Round steps of a scale: the first of 1, 2, 5 times a power of ten that gives few enough. */
export function tickStep(length, most) {
  const rough = length / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= rough);
}
