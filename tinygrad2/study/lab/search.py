"""The best way to look for one faulty op with probes: halve what is left, by what leads where in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from tinygrad2.study.recording import Value


class Search:
    """Candidates are bits of a number: bit i for the i-th op, and one more for "healthy".

    ops    in the order of the backward pass
    most   how many probes are needed for the worst culprit
    """

    def __init__(self, reach: Sequence[Set[Value]], ops: Sequence[Value]) -> None:
        number = {op: i for i, op in enumerate(ops)}
        self.ops = ops
        self.parts = [sum(1 << number[op] for op in part) for part in reach]
        self.all = (2 << len(ops)) - 1
        self.most = self._needed(self.all)

    def best(self, candidates: int) -> int:
        """The probe after which the fewest candidates are left at worst; of equal ones the first."""
        total = candidates.bit_count()

        def left(probe: int) -> int:
            inside = (candidates & self.parts[probe]).bit_count()
            return max(inside, total - inside)

        return min(range(len(self.ops)), key=left)

    def after(self, candidates: int, probe: int, agrees: bool) -> int:
        """The candidates that are left: those in the part that the probe is about if it disagrees, the others if it agrees."""
        return candidates & (~self.parts[probe] if agrees else self.parts[probe])

    def run(self, agrees: Callable[[Value], bool]) -> tuple[Value | None, list[Value]]:
        """Whom to accuse (None: nobody, it is healthy), and the probes that it took."""
        candidates, probes = self.all, []
        while candidates.bit_count() > 1:
            probe = self.best(candidates)
            probes.append(self.ops[probe])
            candidates = self.after(candidates, probe, agrees(self.ops[probe]))
        last = candidates.bit_length() - 1
        return (None if last == len(self.ops) else self.ops[last]), probes

    def _needed(self, candidates: int) -> int:
        if candidates.bit_count() < 2:
            return 0
        probe = self.best(candidates)
        return 1 + max(self._needed(self.after(candidates, probe, agrees)) for agrees in (True, False))
