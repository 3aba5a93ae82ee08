"""Learning the merges of a BPE: count neighbours, merge the most frequent pair everywhere, and so on.

Of pairs that are equally frequent the smallest is taken: the one whose left token has the smaller id or, where these are the
same, whose right token has. Ids are 0 to 255 for the bytes, in GPT-2's order, and 256, 257, ... for the merges. So the merges
are a function of how often each word occurs: not of the order of the text, of hashes, or of the parts that it is read in.
Hugging Face's trainer breaks ties in the same way, and the tests compare with it.

Words are counted once and stand one after another in one list. Each pair knows its positions there, so that a merge touches
only the places where it happens; a heap knows the most frequent pair.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from gpt2 import terminal
from gpt2.tokenizers.alphabet import BYTES
from gpt2.tokenizers.base import END_OF_TEXT, to_utf8
from gpt2.tokenizers.words import words

BORDER = -1
"""Stands between words, and where a token was that is now part of the one before it."""


def train_merges(documents: Iterable[str], count: int, progress: bool = False) -> list[tuple[int, int]]:
    """The first `count` merges as pairs of ids, or all there are. Raises DataError for half of a surrogate pair."""
    return merges_of(count_words(documents, progress), count, progress)


def count_words(documents: Iterable[str], progress: bool = False) -> Counter[str]:
    """How often each word occurs; all that is kept of the documents."""
    counts: Counter[str] = Counter()
    with terminal.progress(not progress, desc="counting words", unit="char", unit_scale=True) as bar:
        for document in documents:
            for part in document.split(END_OF_TEXT):
                for some in words(part):
                    counts.update(some)
                    bar.update(sum(map(len, some)))
    return counts


def merges_of(counts: Mapping[str, int], count: int, progress: bool = False) -> list[tuple[int, int]]:
    """The first `count` merges for words that occur so often."""
    id_of = {byte[0]: i for i, byte in enumerate(BYTES.values())}
    ids: list[int] = [BORDER]  # every word, then a border
    weight: list[int] = [0]  # by position: how often its word occurs
    for word, times in counts.items():
        spelled = [id_of[b] for b in to_utf8(word)]
        ids += [*spelled, BORDER]
        weight += [times] * (len(spelled) + 1)
    before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))

    total: defaultdict[tuple[int, int], int] = defaultdict(int)
    places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # of the left token; some of them outdated
    for at, pair in enumerate(itertools.pairwise(ids)):
        if BORDER not in pair:
            total[pair] += weight[at]
            places[pair].append(at)
    heap = [(-times, pair) for pair, times in total.items()]
    heapq.heapify(heap)

    merges: list[tuple[int, int]] = []
    with terminal.progress(not progress, total=count, desc="merging", unit="merge") as bar:
        while heap and len(merges) < count:
            times, pair = heapq.heappop(heap)
            if total[pair] != -times:  # other merges took some of them since
                if total[pair]:
                    heapq.heappush(heap, (-total[pair], pair))
                continue
            new = 256 + len(merges)
            merges.append(pair)
            bar.update()
            made = set()
            for at in places.pop(pair):  # from left to right
                right = after[at]
                if ids[at] != pair[0] or ids[right] != pair[1]:
                    continue
                w, left, beyond = weight[at], before[at], after[right]
                ids[at], ids[right] = new, BORDER
                after[at], before[beyond] = beyond, at
                if (a := ids[left]) != BORDER:
                    total[a, pair[0]] -= w
                    total[a, new] += w
                    places[a, new].append(left)
                    made.add((a, new))
                if (b := ids[beyond]) != BORDER:
                    total[pair[1], b] -= w
                    total[new, b] += w
                    places[new, b].append(at)
                    made.add((new, b))
            del total[pair]
            for other in made:
                if total[other]:
                    heapq.heappush(heap, (-total[other], other))
    return merges
