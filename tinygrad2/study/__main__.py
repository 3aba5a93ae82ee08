"""`python -m tinygrad2.study lab "h = x @ w + b; np.mean(np.tanh(h) * h)" x=3x4 w=4x2 b=2`: the page of any expression."""

from __future__ import annotations

import argparse
import ast
import linecache
import re
import sys
from typing import Any

import numpy as np

from tinygrad2 import Tensor, ops, study
from tinygrad2.errors import GraphError, TinygradError

EXAMPLE = "h = x @ w + b; np.mean((np.tanh(h) - t) ** 2) + 0.1 * np.sum(w * w)"
INPUTS = ("x=3x4", "w=4x2", "b=2", "t=3x2")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad2.study", description="Look at the backward pass of an expression."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    about = "Write a page to watch, predict and diagnose the backward pass of an expression."
    page = verbs.add_parser("lab", help=about, description=about)
    page.add_argument("code", nargs="?", default=EXAMPLE, help=f"NumPy statements; the last is the loss (default {EXAMPLE!r})")
    page.add_argument(
        "inputs",
        nargs="*",
        metavar="NAME=ARRAY",
        help=f"x=3x4 for random numbers, x=[1,2,3] for given ones ({' '.join(INPUTS)})",
    )
    page.add_argument("--out", default="lab.html", help="HTML file to write (default lab.html)")
    page.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default 0)")
    args = parser.parse_args(argv)
    given = args.inputs or (list(INPUTS) if args.code == EXAMPLE else [])
    try:
        inputs = _inputs(given, np.random.default_rng(args.seed))
        size = study.lab(_computed(args.code, inputs), args.out, args.code.split("; ")[-1], " ".join(given))
    except TinygradError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{parser.prog}: error: --out {args.out}: cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{args.out}: {size / 1e6:.2f} MB; open it in a browser")
    return 0


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
        except (ValueError, SyntaxError, TypeError):
            raise GraphError(f"input {text!r} must be NAME=3x4, random numbers of that shape, or NAME=[1,2,3]") from None
        if not name.isidentifier():
            raise GraphError(f"input {text!r}: {name!r} is not a name in Python")
        found[name] = Tensor(array, requires_grad=True)
    return found


def _computed(code: str, inputs: dict[str, Any]) -> Tensor:
    """The value of the last statement, recorded. Raises GraphError where it cannot be computed."""
    lines = [line + "\n" for line in code.split("; ")]
    linecache.cache["expression"] = (len(code), None, lines, "expression")  # so that every op knows its line
    names = {"np": np, **{name: getattr(ops, name) for name in ops.__all__}, **inputs}
    try:
        *before, last = ast.parse("".join(lines)).body
        if not isinstance(last, ast.Expr):
            raise GraphError(f"the last statement, {ast.unparse(last)!r}, must be an expression: the loss")
        with study.record():
            exec(compile(ast.Module(before, []), "expression", "exec"), names)
            loss = eval(compile(ast.Expression(last.value), "expression", "eval"), names)
    except TinygradError:
        raise
    except Exception as error:
        raise GraphError(f"{code!r}: {type(error).__name__}: {error}; inputs are given as NAME=3x4") from error
    if not isinstance(loss, Tensor):
        raise GraphError(f"{code!r} gives a {type(loss).__name__} that depends on none of the inputs {list(inputs)}")
    return loss


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
