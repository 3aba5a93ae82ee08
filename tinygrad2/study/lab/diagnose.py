"""Backward passes with exactly one faulty op, or none, each proven so; and the probes with which a learner finds it.

An op is *accusable* if what it is shown to add to the gradients of its inputs is not what finite differences of its own
forward say, for the gradient that the pass itself shows of its output. A case has one accusable op, a control none.

A *probe* of an op takes it and all ops between it and the loss as one function. Everything that goes into that part of
the graph (what the op reads, and the parameters and other branches that enter on the way) is nudged, each along a
direction of its own, and the slope of the loss is measured. Beside it stands what the shown gradients predict. They
disagree if and only if the faulty op is in that part. Nudging what the op reads would not do: a mistake in the gradient
of a weight is at no op below.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygrad2.errors import GraphError
from tinygrad2.study.lab.catalogue import CATALOGUE
from tinygrad2.study.lab.faults import Fault, Healthy
from tinygrad2.study.lab.search import Search
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Backward, Contribution, Trace, contributed
from tinygrad2.types import Array

Edge = tuple[Value, int]
"""One use of a value: the op, and which of its inputs it is."""

TOLERANCE = 1e-3
"""A prediction agrees if its relative distance from what was measured is below this."""

AGREES, DISAGREES = 1e-5, 1e-2
"""No probe of any case has a distance between these two."""

RIGHT, WRONG = 1e-6, 1e-3
"""In the proof: no op of any case is off by something between these two."""

STEP = 1e-6
ATTEMPTS = 20


@dataclass(frozen=True, eq=False)
class Case:
    """A backward pass to be diagnosed.

    key         its name, the same for the same graph: "overwrite@h_0_add", "healthy"
    fault       the mistake in it, None for a control
    culprit     the op that it is in, None for a control
    backward    the pass, in float64
    predicted   for each op, what its probe should give by the gradients that are shown
    budget      how many probes there are: one more than are needed
    """

    key: str
    fault: Fault | None
    culprit: Value | None
    backward: Backward
    predicted: dict[Value, float]
    budget: int

    def is_right(self, accused: Value | None) -> bool:
        """Whether this is the culprit, or None in a control."""
        return accused is self.culprit


@dataclass(frozen=True, eq=False)
class Check:
    """A direction of an input of an op, the derivative of the output along it, and how large they are."""

    direction: Array
    scale: float
    slope: Array
    norm: float

    def off(self, part: Array, g: Array) -> float:
        """How far a contribution is from what the gradient of the output says, relative to the size that it has."""
        expected = float(np.sum(g * self.slope))
        noise = 1e-4 * _norm(g) * self.norm
        size = max(self.scale * _norm(part), abs(expected), noise)
        return abs(float(np.sum(part * self.direction)) - expected) / (size or 1.0)


def cases(trace: Trace, count: int = 12, seed: int = 0) -> list[Case]:
    """Up to `count` proven cases of a computation of one number, in an order drawn by `seed`; see `Diagnosis`."""
    return Diagnosis(trace, seed).cases(count)


class Diagnosis:
    """What the cases of a trace have in common.

    trace      in float64: the values of all cases are its values, in the order and by the names of the original
    ops        that got a gradient, in the order of the backward pass
    reach      for each op: itself and the ops between it and the loss
    edges      the uses of a value that give it a gradient, with what they give in the healthy pass
    entering   for each op the uses, by that part of the graph, of what comes from outside of it
    measured   for each op, the slope of the loss that its probe gives
    floor      slopes below this are given as 0: they are rounding
    budget     how many probes a learner has

    Raises GraphError where the healthy pass itself is not what finite differences say.
    """

    def __init__(self, trace: Trace, seed: int = 0) -> None:
        self.seed = seed
        self.trace = trace.to(np.float64)
        self.healthy = Healthy(self.trace)
        right = self.healthy.backward
        self.ops = [value for value in right.order if not value.is_leaf]
        self.reach = _reach(self.trace, self.ops)
        self.edges = {(part.user, part.index): part for parts in right.contributions.values() for part in parts}
        self.entering = {op: self._entering(part) for op, part in self.reach.items()}
        self.checks = {edge: self._checks(edge, number) for number, edge in enumerate(self.edges)}
        unlike = self.accusable(right)
        if unlike != []:
            where = ", ".join(f"{self.trace.names[op]} ({op.source})" for op in unlike or self.ops[-1:])
            raise GraphError(
                f"diagnose: finite differences do not agree with the healthy backward pass at {where}; "
                "its rule is wrong (see gradcheck), or its forward has a kink just there"
            )
        self.floor = 1e-6 * float(np.median(list(self._sizes.values()))) or 1e-12
        self.directions, self.measured = self._probes()
        self.search = Search([self.reach[op] for op in self.ops], self.ops)
        self.budget = self.search.most + 1

    def cases(self, count: int) -> list[Case]:
        """Different mistakes at different depths and, among several, one control: no two show the same."""
        rng = np.random.default_rng([self.seed, 1])
        found = [self.control()] if count > 1 else []
        faults = [CATALOGUE[i] for i in rng.permutation(len(CATALOGUE))]
        sites = {fault: [self.ops[i] for i in rng.permutation(len(self.ops))] for fault in faults}
        depth = {op: 4 * i // len(self.ops) for i, op in enumerate(self.ops)}
        used: Counter[object] = Counter()
        while len(found) < count and any(sites.values()):
            fault = min((fault for fault in faults if sites[fault]), key=lambda fault: used[fault])
            culprit = min(sites[fault], key=lambda op: (used[depth[op]], used[op]))
            sites[fault].remove(culprit)
            case = self.planted(fault, culprit)
            if case is not None and not any(_alike(case, other) for other in found):
                found.append(case)
                used.update([fault, depth[culprit], culprit])
        return [found[i] for i in rng.permutation(len(found))] or [self.control()]

    def planted(self, fault: Fault, culprit: Value) -> Case | None:
        """The case of a mistake at an op; None if it cannot be made there, or is not proven to be there and nowhere else."""
        with np.errstate(all="ignore"):
            parts = fault.planted(self.healthy, culprit)
            if parts is None:
                return None
            backward = self.trace.backward(contribute=lambda op, g: parts if op is culprit else contributed(op, g))
            return self.proven(f"{fault.key}@{self.trace.names[culprit]}", fault, culprit, backward)

    def control(self) -> Case:
        """The healthy pass as a case."""
        case = self.proven("healthy", None, None, self.healthy.backward)
        assert case is not None  # or there would have been a GraphError
        return case

    def proven(self, key: str, fault: Fault | None, culprit: Value | None, backward: Backward) -> Case | None:
        """A case, if its culprit is the one op that is accusable and every probe says clearly what it must."""
        if self.accusable(backward) != ([] if culprit is None else [culprit]):
            return None
        predicted = self.predicted(backward)
        for op, slope in predicted.items():
            off = distance(self.measured[op], slope)
            if not (off > DISAGREES if culprit in self.reach[op] else off < AGREES):
                return None
        return Case(key, fault, culprit, backward, predicted, self.budget)

    def accusable(self, backward: Backward) -> list[Value] | None:
        """The ops whose contributions are not what finite differences of their forward say; None where that is in doubt."""
        found: list[Value] = []
        parts = shown(backward)
        for edge, checks in self.checks.items():
            g, part = backward.gradients[edge[0]], parts[edge]
            off = max(check.off(part, g) for check in checks)
            if not (off < RIGHT or off > WRONG):
                return None
            if off > WRONG and edge[0] not in found:
                found.append(edge[0])
        return found

    def predicted(self, backward: Backward) -> dict[Value, float]:
        """For each op the slope that its probe should have, by the contributions that a pass shows."""
        parts = shown(backward)
        slopes = {edge: float(np.sum(parts[edge] * direction)) for edge, direction in self.directions.items()}
        return {op: self._slope(sum(slopes[edge] for edge in self.entering[op])) for op in self.ops}

    def _slope(self, x: float) -> float:
        return 0.0 if abs(x) < self.floor else x

    def _entering(self, part: frozenset[Value]) -> list[Edge]:
        return [edge for edge, use in self.edges.items() if edge[0] in part and use.target not in part]

    def agrees(self, case: Case, op: Value) -> bool:
        """What the probe of an op says of a case."""
        return distance(self.measured[op], case.predicted[op]) < TOLERANCE

    def solve(self, case: Case) -> tuple[Value | None, list[Value]]:
        """Whom the search accuses (None: the pass is healthy), and the probes that it took."""
        return self.search.run(lambda op: self.agrees(case, op))

    @cached_property
    def _sizes(self) -> dict[Edge, float]:
        """How much the loss changes where an input changes by its own size."""
        return {edge: _norm(part.array) * _scale(part.target.array) for edge, part in self.edges.items()}

    def _checks(self, edge: Edge, number: int) -> list[Check]:
        """What finite differences say of one input of an op."""
        op, index = edge
        rng = np.random.default_rng([self.seed, 2, number])
        x = op.arrays[index]
        found = []
        for _ in range(2):
            direction = _scale(x) * rng.standard_normal(x.shape)
            up, down = (_run(op, {index: x + t * direction}) for t in (STEP, -STEP))
            with np.errstate(invalid="ignore"):
                slope = np.where(up == down, 0, up - down) / (2 * STEP)  # a mask of -inf stays where it is
            found.append(Check(direction, _scale(direction), slope, _norm(slope)))
        return found

    def _probes(self) -> tuple[dict[Edge, Array], dict[Value, float]]:
        """A direction for each use of a value, and the slopes that are measured: drawn again until all are clear."""
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([self.seed, 3, attempt])
            self.directions = directions = {
                edge: self._size(edge) * _across(rng.standard_normal(use.target.array.shape), use.array)
                for edge, use in self.edges.items()
            }
            predicted = self.predicted(self.healthy.backward)
            measured = {op: self._measure(op) for op in self.ops}
            if all(distance(measured[op], predicted[op]) < AGREES for op in self.ops):
                return directions, measured
        worst = max(self.ops, key=lambda op: distance(measured[op], predicted[op]))
        raise GraphError(
            f"diagnose: from {self.trace.names[worst]} on the slope of the loss is {measured[worst]}, by the healthy gradients "
            f"{predicted[worst]}; it has a kink just there, or is not smooth enough for finite differences"
        )

    def _size(self, edge: Edge) -> float:
        """How long a direction is: so that each use counts alike, as far as a nudge along it stays small."""
        typical, scale = float(np.median(list(self._sizes.values()))), _scale(self.edges[edge].target.array)
        return scale * (min(typical / self._sizes[edge], 30) if self._sizes[edge] else 1.0)

    def _measure(self, op: Value) -> float:
        """The slope of the loss where all that enters is nudged: central differences at two steps, extrapolated."""

        def loss(t: float) -> float:
            inputs = {edge: edge[0].arrays[edge[1]] + t * STEP * self.directions[edge] for edge in self.entering[op]}
            return float(self.trace.forward(inputs=inputs)[self.trace.output])

        return self._slope((8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12 * STEP))


def distance(measured: float, predicted: float) -> float:
    """How far apart two slopes are, relative to the larger."""
    return abs(measured - predicted) / (max(abs(measured), abs(predicted)) or 1.0)


def shown(backward: Backward) -> dict[Edge, Array]:
    """What each use of a value is shown to have added to its gradient: the sum after it, less the sum before."""
    found: dict[Edge, Array] = {}
    for parts in backward.contributions.values():
        before: Array | None = None
        for part in parts:
            after = part.added_to(before)
            plain = Contribution.added_to(part, before)  # then the difference is known without its rounding
            difference = after if before is None else after - before
            found[part.user, part.index] = part.array if np.array_equal(after, plain) else difference
            before = after
    return found


def _run(op: Value, instead: dict[int, Array]) -> Array:
    """What the op of a value makes of its inputs, with others in place of some."""
    assert op.op is not None
    try:
        return op.op.run(tuple(instead.get(i, x) for i, x in enumerate(op.arrays)), op.settings)[0]
    except Exception as error:  # an op that somebody wrote may refuse in any way
        what = f"{type(error).__name__}: {error}"
        raise GraphError(f"diagnose: {op.full_name} ({op.source}) cannot be computed near its inputs: {what}") from error


def _alike(a: Case, b: Case) -> bool:
    """Whether two cases show the same numbers, whatever the mistake is called."""
    if a.culprit is not b.culprit:
        return False
    one, other = shown(a.backward), shown(b.backward)
    return all(np.allclose(part, other[edge], rtol=1e-6, atol=1e-12, equal_nan=True) for edge, part in one.items())


def _norm(x: Array) -> float:
    return float(np.sqrt(np.sum(x * x)))


def _across(direction: Array, gradient: Array) -> Array:
    """A direction with a tenth of its part along the gradient: what is right hides less of what is wrong."""
    square = float(np.sum(gradient * gradient))
    return direction - (0.9 * float(np.sum(direction * gradient)) / square * gradient if square else 0.0)


def _scale(x: Array) -> float:
    """The root of the mean square of the finite entries; 1 where all are zero."""
    finite = x[np.isfinite(x)]
    return (_norm(finite) / finite.size**0.5 if finite.size else 0.0) or 1.0


def _reach(trace: Trace, ops: list[Value]) -> dict[Value, frozenset[Value]]:
    """For each op: itself and those between it and the output, of those that a gradient came through."""
    reach: dict[Value, frozenset[Value]] = {}
    users: dict[Value, list[Value]] = {op: [] for op in ops}
    for user in ops:
        for x in user.inputs:
            if x in users:
                users[x].append(user)
    for op in ops:  # each after all of its uses
        reach[op] = frozenset([op]).union(*(reach[user] for user in users[op]))
    return reach
