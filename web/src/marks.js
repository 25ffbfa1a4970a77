// Marks: what was searched for, marked in the details without a change of any element.

const NAME = "found";

export function markHits(box, find) {
  if (!globalThis.CSS?.highlights || !box) return;
  CSS.highlights.delete(NAME);
  const wanted = find.trim().toLowerCase();
  if (!wanted) return;
  const ranges = [];
  const walk = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node && ranges.length < 2000; node = walk.nextNode()) {
    const text = node.data.toLowerCase();
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      if (at + wanted.length > node.data.length) break;
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + wanted.length);
      ranges.push(range);
    }
  }
  if (ranges.length) CSS.highlights.set(NAME, new Highlight(...ranges));
}
