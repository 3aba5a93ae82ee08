"""Where did the NaN start? Watching every op, forward and backward, while a context is open.

An op is blamed when it makes what none of its inputs had: a NaN from numbers, or an infinity from finite numbers. So an
attention mask of -inf is no anomaly, and what a NaN contaminates later is not blamed for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad2.errors import AnomalyError
from tinygrad2.observer import Observer, observe
from tinygrad2.ops.indexing import Scatter
from tinygrad2.ops.op import Op, Outline, arrays_in
from tinygrad2.types import Array


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, the first op that makes a NaN or an infinity raises AnomalyError.

    Forward or backward: the message has the op, the module path, the line of your code, and the ranges of what went in. Arrays
    that backward needs are read-only meanwhile, so that an in-place write raises at the line that writes. Slow: for debugging.
    """
    with observe(AnomalyDetector()), np.errstate(all="ignore"):  # what NumPy would warn of is raised by the detector
        yield


class AnomalyDetector(Observer):
    """Looks at every op that is recorded or differentiated, and locks the arrays that backward will need."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # shards on several threads keep the same arrays
        self._locked: dict[int, tuple[Array, int]] = {}  # by id: the array, and how many nodes keep it

    def where(self) -> str:
        """The module path and the line of the user's code that is running."""
        inside = f"in {self.call.path or type(self.call.root).__name__} " if self.call is not None else ""
        return f"{inside}at {self.line()[1]}"

    def forward(self, op: type[Op], arrays: Sequence[Any], out: Array, leaves: Sequence[bool]) -> None:
        """Raise AnomalyError if `op` has made a NaN or an infinity, or was given a NaN by a leaf."""
        for x, leaf in zip(arrays, leaves, strict=True):
            if leaf and "nan" in _flaws(x):
                raise AnomalyError(f"{op.name} was given a NaN, {self.where()}; inputs: {_ranges(arrays)}")
        made = _made(out, arrays)
        if made:
            raise AnomalyError(f"the forward of {op.name} made {_count(out, made)}, {self.where()}; inputs: {_ranges(arrays)}")

    def recorded(self, node: Any, out: Array) -> None:
        """Remember where, and lock what backward will need."""
        node.observed = self.where()
        self.lock(arrays_in(node.op.kept(node.primals, node.residuals, tuple([p is not None for p in node.parents]))))

    def backward(self, node: Any, g: Any, cotangent: Any) -> None:
        """Raise AnomalyError if a rule of a node has made a NaN or an infinity from what it was given."""
        values = _plain(cotangent.values if isinstance(cotangent, Scatter) else cotangent)
        made = _made(values, (g, *node.primals, *arrays_in(node.residuals)))
        if made:
            raise AnomalyError(
                f"the backward of {node.op.name} made {_count(values, made)}; its forward was "
                f"{node.observed or 'not watched'}; cotangent: {_range(g)}; inputs: {_ranges(node.primals)}"
            )

    def released(self, node: Any) -> None:
        """What a node kept may be written to again."""
        self.unlock(arrays_in(node.op.kept(node.primals, node.residuals, tuple([p is not None for p in node.parents]))))

    def lock(self, arrays: Sequence[Any]) -> None:
        """Make arrays that a node keeps read-only, so that whoever writes to one is stopped at that line."""
        with self._lock:
            for x in arrays:
                if isinstance(x, np.ndarray) and (x.flags.writeable or id(x) in self._locked):
                    self._locked[id(x)] = x, self._locked.get(id(x), (x, 0))[1] + 1
                    x.flags.writeable = False

    def unlock(self, arrays: Sequence[Any]) -> None:
        """A node lets go of its arrays."""
        with self._lock:
            for x in arrays:
                if id(x) in self._locked:
                    count = self._locked[id(x)][1] - 1
                    self._locked[id(x)] = x, count
                    if not count and not _is_locked(x.base):  # a view waits for its base, or for close()
                        del self._locked[id(x)]
                        x.flags.writeable = True

    def close(self) -> None:
        """Give every array back as it was."""
        for x, _ in sorted(self._locked.values(), key=lambda pair: pair[0].base is not None):  # views after bases
            x.flags.writeable = True
        self._locked.clear()


def _is_locked(base: Any) -> bool:
    return isinstance(base, np.ndarray) and not base.flags.writeable


def _plain(x: Any) -> Array:
    """The array of a Tensor, an array or a number."""
    return np.asarray(x.data if hasattr(x, "node") else x)


def _flaws(x: Any) -> set[str]:
    """Which of nan and inf an array has."""
    x = _plain(x)
    if x.dtype.kind != "f" or np.isfinite(x).all():
        return set()
    return {name for name, found in (("nan", np.isnan(x).any()), ("inf", np.isinf(x).any())) if found}


def _made(out: Any, inputs: Sequence[Any]) -> str | None:
    """What `out` has that no input had: "nan", "inf" or None. An infinity that comes from a NaN is not new."""
    flaws = _flaws(out)
    if not flaws:
        return None
    before = set().union(*(_flaws(x) for x in inputs if x is not None))
    if "nan" in flaws and "nan" not in before:
        return "nan"
    return "inf" if "inf" in flaws and not before else None


def _count(x: Any, kind: str) -> str:
    x = np.asarray(x)
    return f"{int((np.isnan(x) if kind == 'nan' else np.isinf(x)).sum())} {kind} of {x.size} entries"


def _ranges(arrays: Sequence[Any]) -> str:
    return "; ".join(_range(x) for x in arrays if x is not None)


def _range(x: Any) -> str:
    x = x if isinstance(x, Outline) else _plain(x)
    if isinstance(x, Outline) or not x.size or x.dtype.kind not in "fiu":
        return f"{x.dtype} {x.shape}"
    finite = x[np.isfinite(x)]
    span = f"from {finite.min():.4g} to {finite.max():.4g}" if finite.size else "nothing finite"
    return f"{x.dtype} {x.shape} {span}"
