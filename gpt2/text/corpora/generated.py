"""Text from sources that are known completely, so that the loss of a perfect model is known too.

Every document comes with what each of its characters costs a model that knows the source: -ln P(character | all before it in
the document). These add up to -ln P(document), whichever way a tokenizer cuts it. Over n predicted tokens no model can be
better in the mean than their sum / n, but for chance: the sum is that of these very documents, not an average.

Is that loss within reach? A model sees a window, not the document from its start. Documents of `addition`, `sorting` and
`brackets` have 16, 16 and 32 characters, and the first 90% are whole documents: with a token per character and a context
that is a multiple of 32, every window starts where a document does, and the sum is exactly what a perfect model in that
window pays. With other tokens, contexts or splits, the first document of a window may have lost its beginning, and the sum is
a lower bound. For `markov` all that matters are the last two characters; a window has one of them where it makes its first
prediction. A perfect model pays there what a chain of order 1 costs, about 0.5 nats more: 0.008 per token in windows of 64.

The texts are functions of their seed, about a million characters each. `--seed` does not change them.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from gpt2.rng import generator
from gpt2.text.corpora.corpus import Corpus, Document
from tinygrad2.types import Array

DIGITS, LETTERS, PAIRS = 4, 7, 15
"""Of an operand, of a line to sort, and of brackets in a line."""
KINDS = ("()", "[]", "{}")


def addition(seed: int = 0, count: int = 65_000) -> Corpus:
    """Lines such as `0123+9984=10107`: two numbers of four digits, any equally likely, and their sum.

    Each of the eight digits costs ln 10 nats, and the rest is determined: 8 ln 10 / 16 = 1.1513 nats per character.
    """
    numbers = generator(seed, "addition").integers(0, 10**DIGITS, (count, 2)).tolist()
    lines = [f"{a:0{DIGITS}}+{b:0{DIGITS}}={a + b:0{DIGITS + 1}}\n" for a, b in numbers]
    operand = [math.log(10)] * DIGITS
    return _corpus("addition", lines, [np.array([*operand, 0, *operand, *[0] * (DIGITS + 3)])] * count)


def sorting(seed: int = 0, count: int = 65_000) -> Corpus:
    """Lines such as `rhbxbaz>abbhrxz`: seven letters, any equally likely, and the same in alphabetical order.

    Each of the first seven letters costs ln 26 nats, and the rest is determined: 7 ln 26 / 16 = 1.4254 nats per character.
    """
    drawn = generator(seed, "sorting").integers(0, 26, (count, LETTERS)).tolist()
    letters = string.ascii_lowercase
    lines = ["".join(letters[i] for i in row) + ">" + "".join(letters[i] for i in sorted(row)) + "\n" for row in drawn]
    return _corpus("sorting", lines, [np.array([math.log(26)] * LETTERS + [0] * (LETTERS + 2))] * count)


def brackets(seed: int = 0, count: int = 32_500, pairs: int = PAIRS) -> Corpus:
    """Lines of 15 pairs of balanced brackets, such as `([]{()})`, each followed by an empty one. All are equally likely.

    There are C_15 = 9,694,845 ways to nest 15 pairs (Catalan numbers) and 3^15 to choose their kinds, so that a line costs
    ln C_15 + 15 ln 3, together 32.57 nats, or 1.0177 per character. Character by character: with r characters to go at
    depth d there are N(r, d) = N(r-1, d+1) + N(r-1, d-1) ways to nest the rest (ballot numbers; N(0, 0) = 1). The next
    opens with probability N(r-1, d+1) / N(r, d), and then is of each kind with probability 1/3; otherwise it closes, and
    its kind is determined.
    """
    rng = generator(seed, "brackets")
    length = 2 * pairs
    draws, kinds = rng.random((count, length)), rng.integers(0, len(KINDS), (count, length))
    opens = np.zeros((count, length), bool)
    nats = np.zeros((count, length + 2))
    depth = np.zeros(count, np.int64)
    for at in range(length):
        p = np.array([_opening(length - at, d) for d in range(length + 1)])[depth]
        opens[:, at] = now = draws[:, at] < p
        nats[:, at] = -np.log(np.where(now, p / len(KINDS), 1 - p))
        depth += np.where(now, 1, -1)
    return _corpus("brackets", [_written(o, k) for o, k in zip(opens.tolist(), kinds.tolist(), strict=True)], nats)


@cache
def ballot(rest: int, depth: int) -> int:
    """N(r, d): the ways to close `depth` open brackets with `rest` more characters, that may open others."""
    if not 0 <= depth <= rest:
        return 0
    return 1 if rest == 0 else ballot(rest - 1, depth + 1) + ballot(rest - 1, depth - 1)


def _opening(rest: int, depth: int) -> float:
    ways = ballot(rest, depth)
    return ballot(rest - 1, depth + 1) / ways if ways else 0.0


def _written(opens: list[bool], kinds: list[int]) -> str:
    line: list[str] = []
    closing: list[str] = []
    for opening, kind in zip(opens, kinds, strict=True):
        line.append(KINDS[kind][0] if opening else closing.pop())
        if opening:
            closing.append(KINDS[kind][1])
    return "".join(line) + "\n\n"


SYMBOLS = "abcdefgh\n"
END = len(SYMBOLS) - 1
"""Of SYMBOLS, the one that ends a line."""


def markov(seed: int = 0, count: int = 16_000) -> Corpus:
    """Lines over eight letters, each character drawn given the two before it: a Markov chain of order 2.

    The chain goes on from line to line: a line ends with probability 1/64 after each letter, and after its end the chain
    has forgotten what was before. A character costs -ln P(next | two before), on average the entropy rate: see `entropy`.
    """
    table = transitions(seed)
    cumulative, costs = table.cumsum(-1), -np.log(np.maximum(table, 1e-300))
    rng = generator(seed, "markov", 1)
    before, last = np.full(count, END), np.full(count, END)
    written, nats, lengths = [], [], np.zeros(count, np.int64)
    active = np.arange(count)
    while len(active):
        b, n = before[active], last[active]
        drawn = rng.random(len(active))[:, None] * cumulative[b, n, -1:]
        following = (drawn >= cumulative[b, n]).sum(-1)
        column, cost = np.full(count, END), np.zeros(count)
        column[active], cost[active] = following, costs[b, n, following]
        written.append(column.astype(np.uint8))
        nats.append(cost)
        lengths[active] += 1
        before[active], last[active] = n, following
        active = active[following != END]
    codes = np.frombuffer(SYMBOLS.encode(), np.uint8)[np.stack(written, 1)]  # (count, longest)
    lines = [row[:n].tobytes().decode() for row, n in zip(codes, lengths, strict=True)]
    return _corpus("markov", lines, [row[:n] for row, n in zip(np.stack(nats, 1), lengths, strict=True)])


def transitions(seed: int = 0) -> Array:
    """P(next | before, last) as [before, last, next], by the places in SYMBOLS: (9, 9, 9).

    Rows over the letters are drawn from a Dirichlet distribution with all parameters 0.5. After an end of line, what was
    before it does not matter, and no other follows.
    """
    letters = len(SYMBOLS) - 1
    table = np.zeros((letters + 1, letters + 1, letters + 1))
    table[..., :letters] = generator(seed, "markov").dirichlet([0.5] * letters, (letters + 1, letters + 1))
    table[:, :END] *= 1 - 1 / 64
    table[:, :END, END] = 1 / 64
    table[:, END] = table[0, END]
    return table


def entropy(table: Array) -> float:
    """The entropy rate, in nats per character: -sum_s pi_s sum_c P(c | s) ln P(c | s).

    The states s are pairs of characters, and pi, the share of each in the long run, solves pi P = pi with sum 1.
    """
    k = len(table)
    chain = np.zeros((k, k, k, k))  # (before, last) -> (last, next)
    for last in range(k):
        chain[:, last, last, :] = table[:, last]
    pi = np.linalg.lstsq(np.vstack([chain.reshape(k * k, k * k).T - np.eye(k * k), np.ones(k * k)]), np.eye(k * k + 1)[-1])[0]
    logs = np.log(table, out=np.zeros_like(table), where=table > 0)
    return -float(np.sum(pi.reshape(k, k, 1) * table * logs))


GENERATED = {"addition": addition, "sorting": sorting, "brackets": brackets, "markov": markov}


def _corpus(name: str, lines: Sequence[str], nats: Sequence[Array] | Array) -> Corpus:
    def documents() -> Iterator[Document]:
        for line, costs in zip(lines, nats, strict=True):
            yield Document([line], costs)

    return Corpus(name, documents)
