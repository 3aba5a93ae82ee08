"""The graph: what is remembered of a computation, and when.

Every recorded op leaves a `Node`: the op, what its rules will read, and the nodes that made its inputs. A node is numbered when
it is made, so an input always has a lower number than what was computed from it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import numpy as np

from tinygrad2.context import within
from tinygrad2.errors import DtypeError, TinygradError, refusal
from tinygrad2.observer import observing
from tinygrad2.ops.op import Op
from tinygrad2.types import Array, numbers

COPIED = 1 << 20
"""Bytes up to which a constant that backward will read is copied, so that it may be written to meanwhile."""

_numbers = itertools.count()
_recording: ContextVar[bool] = ContextVar("recording", default=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside `with no_grad():` (or a function decorated with `@no_grad()`) nothing is recorded."""
    with within(_recording, False):
        yield


@contextmanager
def enable_grad() -> Iterator[None]:
    """Inside, ops are recorded again, even within `no_grad`."""
    with within(_recording, True):
        yield


def is_recording() -> bool:
    """Whether ops are recorded here."""
    return _recording.get()


class Node:
    """One value in the graph: a leaf (`op` is None, keeps `.grad`) or the result of an op on other values."""

    __slots__ = (
        *("__weakref__", "number", "op", "parents", "parent_versions", "primals", "residuals", "settings"),
        *("grad", "version", "hooks", "observed"),
    )

    def __init__(
        self,
        op: type[Op] | None = None,
        parents: tuple[Node | None, ...] = (),
        primals: tuple[Any, ...] | None = (),
        settings: dict[str, Any] | None = None,
        residuals: Any = None,
    ) -> None:
        self.op, self.parents, self.primals, self.residuals = op, parents, primals, residuals
        self.settings = settings or {}
        self.number = next(_numbers)
        self.grad: Any = None  # of a leaf: what backward has added up
        self.version = 0  # how often its array was changed or replaced since it was made
        self.parent_versions = tuple([p.version if p is not None else 0 for p in parents])  # those that this op has used
        self.hooks: tuple[Callable[[Any], Any], ...] = ()
        self.observed: Any = None  # what an observer notes of it


class TensorLike(Protocol):
    """What the engine needs of a Tensor: an array, its node, and how to make another one."""

    data: Array
    node: Node | None

    @classmethod
    def wrap(cls, data: Array, node: Node | None) -> Any: ...


T = TypeVar("T", bound=TensorLike)


def record(tensor: type[T], op: type[Op], inputs: Sequence[Any], settings: dict[str, Any]) -> T:
    """Apply `op` to `inputs` (Tensors, arrays, numbers) and remember how, if an input wants a gradient."""
    arrays = tuple([x.data if isinstance(x, tensor) else numbers(x) if isinstance(x, np.ndarray) else x for x in inputs])
    parents = tuple([x.node if isinstance(x, tensor) else None for x in inputs])
    try:
        out, residuals = op.run(arrays, settings)
    except TinygradError:
        raise
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(np.shape(a)) for a in arrays)
        raise refusal(error, f"{op.name} of {shapes}: {error}") from error
    node, observer = None, observing()
    if _recording.get() and any(parents) and (out.dtype.kind == "f" or _is_recordable(op, out)):
        if observer is None:
            arrays, residuals = op.kept(arrays, residuals, tuple([p is not None for p in parents]))
            if None in parents:
                arrays = _with_copies(arrays, parents)
        node = Node(op, parents, arrays, settings and {name: _lent(value) for name, value in settings.items()}, residuals)
    if observer is not None:
        observer.forward(op, arrays, out, [p is None or p.op is None for p in parents])
        if node is not None:
            observer.recorded(node, out)
    return tensor.wrap(out, node)


def _is_recordable(op: type[Op], out: Array) -> bool:
    """False: what is not floating-point ends the way back. Raises DtypeError for complex numbers, which should not."""
    if out.dtype.kind == "c":
        raise DtypeError(f"{op.name}: it gave {out.dtype}, and complex numbers have no gradient here; compute with real ones")
    if out.dtype.kind not in "iub":
        raise DtypeError(f"{op.name}: it gave {out.dtype}, which has no gradient; compute with numbers")
    return False


def _with_copies(arrays: tuple[Any, ...], parents: tuple[Node | None, ...]) -> tuple[Any, ...]:
    """What backward will read: of constants a copy where they are small."""
    for i, x in enumerate(arrays):
        if parents[i] is None and isinstance(x, np.ndarray):
            arrays = (*arrays[:i], _lent(x), *arrays[i + 1 :])
    return arrays


def _lent(x: Any) -> Any:
    """What somebody lent, who may write to it: a copy, but of large arrays."""
    if isinstance(x, np.ndarray):
        return x.copy() if x.nbytes <= COPIED else x
    if type(x) is tuple:
        return tuple(map(_lent, x))
    return copy.deepcopy(x) if isinstance(x, (list, dict)) else x


def ancestors(nodes: Iterable[Node | None]) -> Iterator[Node]:
    """These nodes and all that they were computed from, each once."""
    known = {node for node in nodes if node is not None}
    stack = list(known)
    while stack:
        node = stack.pop()
        yield node
        new = [p for p in node.parents if p is not None and p not in known]
        known.update(new)
        stack += dict.fromkeys(new)


def require_float(array: Array) -> None:
    """Raise DtypeError unless gradients make sense for this array."""
    if array.dtype.kind != "f":
        raise DtypeError(
            f"requires_grad: {array.dtype} numbers have no gradient; convert first, as in Tensor(x.astype(np.float32))"
        )
