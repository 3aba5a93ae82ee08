"""The engine that references run on: tinygrad2's, behind the names of the learner's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad2.ops import Fused
from tinygrad2.study.course.checks.e08_tensor import Tensor

__all__ = ["Tensor", "op"]


def op(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Tensors from a pair, whose cache is kept as long as the result may be differentiated."""

    def apply(*args: Any) -> Any:
        places = [i for i, x in enumerate(args) if hasattr(x, "backward")]

        def run(*arrays: Any) -> Any:
            instead = dict(zip(places, arrays, strict=True))
            return forward(*(instead.get(i, x) for i, x in enumerate(args)))

        def pull(g: Any, cache: Any, *_: Any) -> Any:
            found = backward(g, cache)
            return found if isinstance(found, tuple) else (found,)

        class Pair(Fused):
            forward, vjp, spec = staticmethod(run), staticmethod(pull), staticmethod(lambda *arrays: run(*arrays)[0])

        return Pair.call(*(args[i] for i in places))

    return apply
