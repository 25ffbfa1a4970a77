"""Stand-in for `heapq`: the same moves in the same order, so heaps lie as CPython's do.

`merge` takes all its inputs at once.
"""

__all__ = [
    "heapify",
    "heappop",
    "heappush",
    "heappushpop",
    "heapreplace",
    "merge",
    "nlargest",
    "nsmallest",
]


def _down(heap, start, place):
    item = heap[place]
    while place > start:
        parent = (place - 1) >> 1
        if not item < heap[parent]:
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = item


def _up(heap, place):
    end, start, item = len(heap), place, heap[place]
    child = 2 * place + 1
    while child < end:
        right = child + 1
        if right < end and not heap[child] < heap[right]:
            child = right
        heap[place] = heap[child]
        place = child
        child = 2 * place + 1
    heap[place] = item
    _down(heap, start, place)


def heappush(heap, item):
    heap.append(item)
    _down(heap, 0, len(heap) - 1)


def heappop(heap):
    if not heap:
        raise IndexError("index out of range")
    last = heap.pop()
    if not heap:
        return last
    return heapreplace(heap, last)


def heapreplace(heap, item):
    if not heap:
        raise IndexError("index out of range")
    least = heap[0]
    heap[0] = item
    _up(heap, 0)
    return least


def heappushpop(heap, item):
    if heap and heap[0] < item:
        return heapreplace(heap, item)
    return item


def heapify(x):
    for place in range(len(x) // 2 - 1, -1, -1):
        _up(x, place)


def nlargest(n, iterable, key=None):
    return sorted(iterable, key=key, reverse=True)[: max(0, n)]


def nsmallest(n, iterable, key=None):
    return sorted(iterable, key=key)[: max(0, n)]


def merge(*iterables, key=None, reverse=False):
    lists = [list(each) for each in iterables]
    if key is None:
        key = _same
    heads = [0] * len(lists)
    merged = []
    while True:
        chosen = -1
        for number in range(len(lists)):
            if heads[number] < len(lists[number]):
                if chosen < 0 or _before(lists, heads, number, chosen, key, reverse):
                    chosen = number
        if chosen < 0:
            return iter(merged)
        merged.append(lists[chosen][heads[chosen]])
        heads[chosen] += 1


def _before(lists, heads, number, chosen, key, reverse):
    one, other = key(lists[number][heads[number]]), key(lists[chosen][heads[chosen]])
    return other < one if reverse else one < other


def _same(item):
    return item
