"""`python -m tinygrad2.study lab "h = x @ w + b; mean(tanh(h) * h)" x=3x4 w=4x2 b=2`: the page of any expression."""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import linecache
import re
import sys
import textwrap
from typing import Any

import numpy as np

from tinygrad2 import Tensor, ops, study
from tinygrad2.errors import GraphError, TinygradError
from tinygrad2.study.lab import CASES, small

EXAMPLE = "h = x @ w + b; np.mean((np.tanh(h) - t) ** 2) + 0.1 * np.sum(w * w)"
INPUTS = ("x=3x4", "w=4x2", "b=2", "t=3x2")

FUNCTIONS = {
    **{f.__name__: f for f in ops.RULES if getattr(np, f.__name__, None) is f},
    **{name: f for name in ops.__all__ if inspect.isroutine(f := getattr(ops, name)) and name not in ("primitive", "values")},
}
"""What may be called by its plain name: NumPy's functions that have a gradient, and those of `tinygrad2.ops`."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad2.study", description="Look at the backward pass of an expression."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    about = "Write a page to watch, predict and diagnose the backward pass of an expression."
    page = verbs.add_parser(
        "lab", help=about, description=about, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_epilog()
    )
    page.add_argument(
        "code",
        nargs="?",
        default=EXAMPLE,
        help=f"gpt2, for a small GPT-2; or statements, of which the last is the loss (default {EXAMPLE!r})",
    )
    page.add_argument(
        "inputs",
        nargs="*",
        metavar="NAME=ARRAY",
        help=f"x=3x4 for random numbers, x=[1,2,3] for given ones ({' '.join(INPUTS)})",
    )
    page.add_argument("--out", default="lab.html", help="HTML file to write (default lab.html)")
    page.add_argument("--seed", type=int, default=0, help="seed of the random numbers and of the cases (default 0)")
    page.add_argument("--cases", type=int, default=CASES, help=f"most cases of diagnose (default {CASES})")
    args = parser.parse_args(argv)
    try:
        size = _written(args)
    except TinygradError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{parser.prog}: error: --out {args.out}: cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{args.out}: {size / 1e6:.2f} MB; open it in a browser")
    return 0


def _epilog() -> str:
    """What the statements may call."""
    names = textwrap.fill(", ".join(sorted(FUNCTIONS)), 100)
    return f"Statements are separated by ';'. They are Python with NumPy as np; by their plain names:\n{names}"


def _written(args: argparse.Namespace) -> int:
    """Write the page; returns its size."""
    if args.seed < 0:
        raise GraphError(f"--seed {args.seed}: must be 0 or more")
    rng = np.random.default_rng(args.seed)
    title, given = "", args.inputs
    tokens: tuple[str, ...] = ()
    if args.code == "gpt2":
        if given:
            raise GraphError(f"gpt2 takes no inputs, but {given[0]!r} was given; leave it out")
        lines, title, about, tokens = list(small.STEPS), small.TITLE, small.ABOUT, small.WORDS[:-1]
        inputs = {name: Tensor(array, requires_grad=True) for name, array in small.parameters(rng).items()}
    else:
        lines = [line for line in re.split(r";\s*", args.code.strip()) if line]
        if not lines:
            raise GraphError(f"there is no statement; give the loss, as in {EXAMPLE!r}")
        given = given or (list(INPUTS) if args.code == EXAMPLE else [])
        about = " ".join(given)
        inputs = _inputs(given, rng)
    loss = _computed(lines, inputs)
    return study.lab(loss, args.out, title or lines[-1], about, tokens=tokens, seed=args.seed, cases=args.cases)


def _inputs(given: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """Tensors by name. Raises GraphError for what is neither a shape nor numbers."""
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            shape = re.fullmatch(r"\d+(x\d+)*", value)
            array = (
                rng.standard_normal([int(n) for n in value.split("x")]) if shape else np.array(ast.literal_eval(value), float)
            )
        except MemoryError:
            raise GraphError(f"input {text!r} does not fit into memory; take a smaller shape") from None
        except (ValueError, SyntaxError, TypeError):
            raise GraphError(f"input {text!r} must be NAME=3x4, random numbers of that shape, or NAME=[1,2,3]") from None
        if not name.isidentifier():
            raise GraphError(f"input {text!r}: {name!r} is not a name in Python")
        found[name] = Tensor(array, requires_grad=True)
    return found


def _computed(lines: list[str], inputs: dict[str, Any]) -> Tensor:
    """The value of the last statement, recorded. Raises GraphError where it cannot be computed."""
    code = "; ".join(lines)
    lines = [line + "\n" for line in lines]
    linecache.cache["expression"] = (len(code), None, lines, "expression")  # so that every op knows its line
    names = {"np": np, **FUNCTIONS, **inputs}
    try:
        *before, last = ast.parse("".join(lines)).body
        if not isinstance(last, ast.Expr):
            raise GraphError(f"the last statement, {ast.unparse(last)!r}, must be an expression: the loss")
        with study.record(), np.errstate(all="ignore"):
            exec(compile(ast.Module(before, []), "expression", "exec"), names)
            loss = eval(compile(ast.Expression(last.value), "expression", "eval"), names)
    except TinygradError:
        raise
    except NameError as error:
        raise GraphError(f"{code!r}: {_unknown(error.name or 'it', code, inputs)}") from error
    except Exception as error:
        raise GraphError(f"{code!r}: {type(error).__name__}: {error}; the inputs are {_shapes(inputs)}") from error
    if not isinstance(loss, Tensor):
        raise GraphError(f"{code!r} gives a {type(loss).__name__} that depends on none of the inputs {list(inputs)}")
    if loss.size == 1 and not np.isfinite(loss.item()):
        raise GraphError(f"{code!r} is {loss.item()} for the inputs {_shapes(inputs)}; take other ones")
    return loss


def _unknown(name: str, code: str, inputs: dict[str, Any]) -> str:
    """What to do about a name that stands for nothing."""
    if re.search(rf"\b{name}\s*\(", code):
        near = difflib.get_close_matches(name, FUNCTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else "--help lists the functions"
        return f"there is no function {name}; {hint}"
    return f"{name} has no value; give it as {name}=3x4, random numbers of that shape, or {name}=[1,2,3]"


def _shapes(inputs: dict[str, Any]) -> str:
    return ", ".join(f"{name} {x.shape}" for name, x in inputs.items()) or "none: give them as NAME=3x4"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
