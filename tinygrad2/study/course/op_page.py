"""The lab's page of a learner's own op, with the gradients that it gives, right or wrong."""

from __future__ import annotations

import functools
import inspect
import linecache
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad2.errors import TinygradError
from tinygrad2.ops import Op
from tinygrad2.study.course.exercise import Exercise, Inputs, Pair
from tinygrad2.study.course.judging import Written, import_from, loaded
from tinygrad2.study.lab import lab
from tinygrad2.study.recording import record
from tinygrad2.tensor import Tensor


def written(exercise: Exercise, folder: Path, seed: int, page: Path) -> int:
    """Write the page of the pair with the largest inputs, and return its size in bytes. Raises TinygradError."""
    path = folder / f"{exercise.key}.py"
    import_from(folder)
    try:
        theirs = Written(loaded(exercise.key, path.read_bytes(), path), path.name)
        pairs = [probe for probe in exercise.show(theirs, Inputs(seed)) if isinstance(probe, Pair)]
        if not pairs:
            raise TinygradError("a page shows a pair of functions, NAME_forward and NAME_backward, and it has none")
        pair = max(pairs, key=lambda one: sum(np.size(x) for x in one.args))
        loss = _recorded(pair, np.random.default_rng(seed))
    except TinygradError:
        raise
    except BaseException as error:
        raise TinygradError(f"no page of it can be made: {type(error).__name__}: {error}") from error
    return lab(loss, page, exercise.title.en.partition(":")[0], f"with the gradients that {path.name} gives")


def _recorded(pair: Pair, rng: np.random.Generator) -> Tensor:
    """A weighted sum of what comes out, written with the names that the learner gave the inputs."""
    op = _op(pair)
    names: dict[str, Any] = {
        "np": np,
        op.name: op.call,
        "weights": rng.standard_normal(np.shape(op.forward(*pair.args))).round(1),
    }
    names |= {
        name: Tensor(np.array(x), requires_grad=True) if _is_float(x) else x
        for name, x in zip(_names(pair), pair.args, strict=True)
    }
    code = f"np.sum({op.name}({', '.join([*names][3:])}) * weights)"
    linecache.cache["exercise"] = (len(code), None, [code], "exercise")  # so that every op knows its line
    with record():
        loss: Tensor = eval(compile(code, "exercise", "eval"), names)
    return loss


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _op(pair: Pair) -> type[Op]:
    """An op whose gradients are what the learner's function gives."""

    @functools.wraps(pair.forward)
    def forward(*arrays: Any) -> Any:
        return pair.forward(*arrays)[0]

    def vjp(g: Any, out: Any, *arrays: Any) -> tuple[Any, ...]:
        found = pair.backward(g, pair.forward(*arrays)[1])
        parts = iter(found if isinstance(found, (tuple, list)) else (found,))
        return tuple(next(parts) if _is_float(x) else None for x in arrays)

    named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("g", "out", *_names(pair))]
    vjp.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    name = pair.forward.__name__.removesuffix("_forward")
    return type("Theirs", (Op,), {"forward": staticmethod(forward), "vjp": staticmethod(vjp), "name": name})


def _names(pair: Pair) -> list[str]:
    """What the learner calls the inputs."""
    return list(inspect.signature(pair.forward).parameters)
