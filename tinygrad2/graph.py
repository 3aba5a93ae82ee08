"""The graph: what is remembered of a computation, and when.

Every recorded op leaves a `Node`: the op, its input arrays, the nodes that made them. A node is numbered when it is
made, so an input always has a lower number than what was computed from it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from tinygrad2.anomaly import Watch
from tinygrad2.errors import DtypeError, ShapeError
from tinygrad2.observer import Observer
from tinygrad2.ops.op import Array, Op

_numbers = itertools.count()
_mode = threading.local()
Watcher = TypeVar("Watcher", bound=Observer)


class no_grad(ContextDecorator):
    """Inside `with no_grad():` (or a function decorated with it) nothing is recorded. Per thread."""

    _recording = False

    def __enter__(self) -> Self:
        self._before = is_recording()
        _mode.recording = self._recording
        return self

    def __exit__(self, *_: object) -> None:
        _mode.recording = self._before

    def _recreate_cm(self) -> Self:  # a decorated function may call itself: each call needs its own memory
        return type(self)()


class enable_grad(no_grad):
    """Inside, ops are recorded again, even within `no_grad`."""

    _recording = True


def is_recording() -> bool:
    """Whether ops are recorded on this thread."""
    return getattr(_mode, "recording", True)


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, on this thread, the first op that makes a NaN or an infinity raises AnomalyError, forward or backward.

    The message has the op, the module path, the line of your code, and the ranges of what went in. Arrays that backward
    needs are read-only meanwhile, so that an in-place write raises at the line that writes. Slow: for debugging.
    """
    with observe(Watch()), np.errstate(all="ignore"):  # what NumPy would warn of is raised by the watch
        yield


@contextmanager
def observe(observer: Watcher) -> Iterator[Watcher]:
    """Inside, on this thread, `observer` is told of every op. An inner observer takes the place of an outer one."""
    before = observing()
    _mode.observer = observer
    try:
        yield observer
    finally:
        _mode.observer = before
        observer.close()


def observing() -> Observer | None:
    """The observer on this thread, if there is one."""
    return getattr(_mode, "observer", None)


class Node:
    """One value in the graph: a leaf (`op` is None, keeps `.grad`) or the result of an op on other values."""

    __slots__ = (
        "__weakref__",
        "arrays",
        "grad",
        "hooks",
        "number",
        "op",
        "params",
        "parents",
        "place",
        "saved",
        "seen",
        "version",
    )

    def __init__(
        self,
        op: type[Op] | None = None,
        parents: tuple[Node | None, ...] = (),
        arrays: tuple[Any, ...] | None = (),
        params: dict[str, Any] | None = None,
        saved: Any = None,
    ) -> None:
        self.op, self.parents, self.arrays, self.params, self.saved = op, parents, arrays, params or {}, saved
        self.number = next(_numbers)
        self.grad: Any = None  # of a leaf: what backward has added up
        self.version = 0  # of a leaf: how often its array was changed or replaced
        self.seen = tuple([p.version if p is not None else 0 for p in parents])  # the versions that this op has used
        self.hooks: tuple[Callable[[Any], Any], ...] = ()
        self.place: Any = None  # what an observer notes of it


class Recorded(Protocol):
    """What the engine needs of a Tensor: an array, its node, and how to make another one."""

    data: Array
    node: Node | None

    @classmethod
    def wrap(cls, data: Array, node: Node | None) -> Any: ...


R = TypeVar("R", bound=Recorded)


def record(tensor: type[R], op: type[Op], inputs: Sequence[Any], params: dict[str, Any]) -> R:
    """Apply `op` to `inputs` (Tensors, arrays, numbers) and remember how, if an input wants a gradient."""
    arrays = tuple([x.data if isinstance(x, tensor) else x for x in inputs])
    parents = tuple([x.node if isinstance(x, tensor) else None for x in inputs])
    try:
        out, saved = op.run(arrays, params)
    except ShapeError:
        raise
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(np.shape(a)) for a in arrays)
        raise ShapeError(f"{op.name} of {shapes}: {error}") from error
    wanted = is_recording() and any(p is not None for p in parents) and out.dtype.kind == "f"
    observer = observing()
    node = Node(op, parents, op.keep(arrays, saved) if observer is None else arrays, params, saved) if wanted else None
    if observer is not None:
        observer.forward(op, arrays, out, [p is None or p.op is None for p in parents])
        if node is not None:
            observer.recorded(node, out)
    return tensor.wrap(out, node)


def require_float(array: Array) -> None:
    """Raise DtypeError unless gradients make sense for this array."""
    if array.dtype.kind != "f":
        raise DtypeError(
            f"requires_grad: {array.dtype} numbers have no gradient; convert first, as in Tensor(x.astype(np.float32))"
        )
