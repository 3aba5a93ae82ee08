"""How a call of a NumPy function arrives at its rule.

What is given is read with NumPy's own signature, so that it means for a Tensor what it means for an array; what is NumPy's
default is dropped. `dtype`, `where`, `initial` and `correction` are put into other words here, for all functions at once;
what a rule does not know after that is refused by name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad2.errors import DtypeError, TinygradError, UnsupportedError, refusal
from tinygrad2.ops.op import RULES, Op, as_array, holds_tensor, values, wide

Function = Callable[..., Any]

IDENTITIES: dict[Function, tuple[Any, Any]] = {
    **{np.sum: (0, np.add), np.prod: (1, np.multiply), np.mean: (0, None)},
    **dict.fromkeys((np.max, np.amax), (None, np.maximum)),
    **dict.fromkeys((np.min, np.amin), (None, np.minimum)),
}
"""What may stand in a fold for an entry that is left out, None for `initial`; and how `initial` joins what was folded."""
PAD_KEYWORDS = ("constant_values", "end_values", "stat_length", "reflect_type")  # which NumPy's signature does not name
RENAMED = {"correction": "ddof", "min": "a_min", "max": "a_max"}
UFUNC_KEYWORDS = {"dtype": None, "casting": "same_kind", "where": True, "order": "K", "subok": True, "signature": None}


def call(function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What the rule of a NumPy function gives for a call of that function.

    Raises UnsupportedError for an argument that no rule knows, and ShapeError where NumPy says ValueError or IndexError,
    MatrixError where it says LinAlgError.
    """
    rule = RULES[function]
    try:
        required, taken, others = _accepts(function, rule)
        arrays, given = list(args), kwargs
        if len(args) != required or not kwargs.keys() <= taken.keys():
            arrays, given = _read(function, args, kwargs)
            unknown = [name for name in given if name not in taken and name not in others]
            if unknown:
                raise UnsupportedError(f"{spelled(function)}: {unknown} is not supported here; it takes {[*taken, *others]}")
            if not {"dtype", "casting"} & given.keys() <= taken.keys():
                return _computed_in(function, arrays, **given)
            for name in [name for name in given if name not in taken and name in RENAMED]:
                if RENAMED[name] in given:
                    raise ValueError(f"{name}= and {RENAMED[name]}= are two names for one thing; give one of them")
                given[RENAMED[name]] = given.pop(name)
            if given.keys() & {"where", "initial"}:
                return _fold(function, *arrays, **given)
        return rule(*arrays, **given)
    except TinygradError:
        raise
    except (ValueError, IndexError) as error:
        raise refusal(error, f"{spelled(function)}: {error}") from error


def spelled(function: Any) -> str:
    """What people write for a NumPy function: "np.linalg.norm"."""
    module = getattr(function, "__module__", None) or ""
    return f"np{module.removeprefix('numpy') if '._' not in module else ''}.{function.__name__}"


@functools.cache
def _signature(function: Function) -> tuple[tuple[str, ...], int | None, dict[str, Any]]:
    """The names that positions have, how many must be given (None: there may be any number), and the defaults by name."""
    if isinstance(function, np.ufunc):  # before NumPy 2.4 they have no signature that inspect could read
        return (), None, UFUNC_KEYWORDS
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # written in C
        return (), None, dict.fromkeys(("out", "dtype", "casting"))
    kinds = {p.kind for p in parameters}
    names = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = None if inspect.Parameter.VAR_POSITIONAL in kinds else sum(p.default is p.empty for p in names)
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    defaults |= dict.fromkeys(PAD_KEYWORDS, inspect.Parameter.empty) if function is np.pad else {}
    return tuple(p.name for p in names), required, defaults


@functools.cache
def _accepts(function: Function, rule: Function) -> tuple[int | None, dict[str, None], list[str]]:
    """How many arguments must be given, and the names of those beyond them: that the rule takes, and that are put into other
    words for it.
    """
    names, required, defaults = _signature(function)
    op = getattr(rule, "__self__", None)
    if isinstance(op, type) and issubclass(op, Op):
        taken = dict.fromkeys([*op.arguments[required:], *op.settings])
    else:
        parameters = inspect.signature(rule).parameters.values()
        every = [*names[required:], *defaults] if any(p.kind is p.VAR_KEYWORD for p in parameters) else []
        optional = [p.name for p in parameters if p.default is not p.empty or p.kind is p.KEYWORD_ONLY]
        taken = dict.fromkeys([name for name in (*optional, *every) if name != "out"])
    others = [name for name, new in RENAMED.items() if name in defaults and new in taken]
    others += [name for name in ("where", "initial") if name in defaults and function in IDENTITIES]
    return required, taken, others + [name for name in ("dtype", "casting") if name in defaults]


def writes(function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """The names of arguments by which a function is told to write into an array."""
    return [name for name in _read(function, args, kwargs)[1] if name in ("out", "overwrite_input")]


def _read(function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """What must be given, in order, and by name what else is given and is not NumPy's default."""
    names, required, defaults = _signature(function)
    if required is None:
        arrays, given = list(args), kwargs
    else:
        given = dict(zip(names, args, strict=False)) | kwargs
        if len(args) > len(names) or len(given) < len(args) + len(kwargs) or not given.keys() >= set(names[:required]):
            said = [*(type(x).__name__ for x in args), *(f"{name}=" for name in kwargs)]
            raise UnsupportedError(f"{spelled(function)} does not take ({', '.join(said)}); it takes {list(names)}")
        arrays = [given.pop(name) for name in names[:required]]
    return arrays, {name: x for name, x in given.items() if not _is_default(x, defaults.get(name, inspect.Parameter.empty))}


def _is_default(x: Any, default: Any) -> bool:
    return (
        x is default or x is np._NoValue or (type(x) is type(default) and type(x) in (bool, int, float, str) and x == default)
    )


def _computed_in(function: Function, arrays: list[Any], *, dtype: Any = None, casting: Any = None, **given: Any) -> Any:
    """What a function gives of operands that are cast to a dtype first."""
    if dtype is None:  # nothing is cast then but what promotion casts
        return call(function, arrays, given)
    casting = casting or _signature(function)[2].get("casting") or "unsafe"
    found = call(function, [_cast(function, x, dtype, casting) for x in arrays], given)
    for part in found if isinstance(found, tuple) else (found,):
        if part.dtype != dtype:
            raise DtypeError(f"{spelled(function)} does not compute in {np.dtype(dtype)}; call .astype() on its result")
    return found


def _cast(function: Function, x: Any, dtype: Any, casting: Any) -> Any:
    """An operand, or a list of them, in the dtype that NumPy would compute in."""
    if isinstance(x, (list, tuple)):
        return [_cast(function, part, dtype, casting) for part in x]
    x = as_array(x)
    if not np.can_cast(x.dtype, dtype, casting):
        how = f"{x.dtype} cannot become {np.dtype(dtype)} with casting={casting!r}"
        raise DtypeError(f"{spelled(function)}: {how}; call .astype() if that is meant")
    return x if x.dtype == dtype else np.astype(x, dtype)


def _fold(function: Function, x: Any, *, where: Any = True, initial: Any = None, **settings: Any) -> Any:
    """A fold of the entries where `where` is True, together with `initial`."""
    x = as_array(x)
    instead, join = IDENTITIES[function]
    picked = np.broadcast_to(values(where), x.shape)
    if picked.dtype != bool:
        raise ValueError(f"where= must be of bool, and is of {picked.dtype}")
    if instead is None and initial is None:
        raise ValueError("where= needs initial=, the result where no entry is left")
    if initial is not None:  # in the dtype of the sum, which may be a wider one than that of x
        if np.ndim(initial):
            raise ValueError(f"initial= must be one number, and is of shape {np.shape(initial)}")
        dtype = values(function(np.ones((1,) * x.ndim, x.dtype))).dtype
        initial = np.astype(initial, dtype) if holds_tensor(initial) else np.array(initial, dtype)
    kept = x if where is True else np.where(picked, x, initial if instead is None else instead)
    if function is np.mean:
        found = np.sum(wide(kept), **settings) / np.sum(picked, **settings)
        return np.astype(found, x.dtype if x.dtype.kind == "f" else found.dtype)
    found = function(kept, **settings) if x.size or instead is not None else np.sum(x, **settings) + initial
    return found if initial is None else np.astype(join(found, initial), initial.dtype)
