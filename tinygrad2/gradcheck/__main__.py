"""`python -m tinygrad2.gradcheck layers.py::affine_forward --inputs 3x4,4x2,2`: is the gradient of that function right?"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import inspect
import json
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tinygrad2.context import within
from tinygrad2.errors import TinygradError
from tinygrad2.gradcheck import gradcheck
from tinygrad2.gradcheck.engines import found_engine
from tinygrad2.language import LANGUAGE, LANGUAGES, VARIABLE

ABOUT = """Check the gradient of a function in a Python file against finite differences.

The gradient is that of --vjp, --backward or --value-and-grad; without one of these, that of NAME_vjp or, of a NAME with
`forward` in it, that of the same name with `backward`, if the file has it; or else that of the engine (PyTorch, JAX, HIPS
autograd, or Tensors) that the function is written with. It ends with 0 for right, 1 for wrong, 3 for undecidable, 4 for
inaccurate, and 2 where nothing could be checked."""
INPUTS = """one for each argument, separated by commas: 3x4 for random numbers of that shape (0d for a single one), 3x4+ for
positive ones, 3x4? for a mask, 5<10 for integers below 10 (default: NAME_inputs in the file, a list or a function that gives
it; or else 3x4 for each)"""
SPEC = re.compile(r"(?P<shape>0d|\d+(x\d+)*)(?P<kind>\+|\?|<[1-9]\d*)?")
PASS = re.compile(r"_?(forward|fwd|(backward|bwd|grad|vjp))_?", re.IGNORECASE)
"""What the names of a function and its rule have beside the name of what they compute; the second group is of the rule."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tinygrad2.gradcheck", description=ABOUT)
    parser.add_argument("target", metavar="FILE.py::NAME", help="a function, a module or a Function of PyTorch, in a file")
    parser.add_argument("--inputs", help=INPUTS)
    parser.add_argument("--vjp", metavar="NAME", help="vjp(g, *inputs) -> cotangents, in the same file")
    parser.add_argument("--backward", metavar="NAME", help="backward(dout, cache) -> cotangents, of out, cache = NAME(*inputs)")
    parser.add_argument("--value-and-grad", action="store_true", help="the function gives (value, gradients)")
    parser.add_argument("--engine", help="tensors, pytorch, jax or autograd, where the types do not tell")
    parser.add_argument("--order", type=int, default=1, help="2 also checks the gradient of the gradient")
    parser.add_argument("--fast", action="store_true", help="a few random directions in place of every entry")
    parser.add_argument("--ulps", type=float, metavar="N", help="also say what is off by more than N units in the last place")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    parser.add_argument(
        "--json", action="store_true", help="for programs: verdict, diagnosis, and the worst entry of each input"
    )
    parser.add_argument("--language", choices=LANGUAGES, help=f"of the verdict (default: what {VARIABLE} says, or en)")
    args = parser.parse_args(argv)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what somebody's code prints is no part of the answer
            f, inputs, how = _read(args)
            result = gradcheck(f, inputs, order=args.order, fast=args.fast, ulps=args.ulps, seed=args.seed, **how)
        with within(LANGUAGE, args.language):
            shown = json.dumps(result.as_dict(), indent=2) if args.json else str(result)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever somebody's code raises, also SystemExit, must not look like a verdict
        said = _said(error, args)
        if args.json:
            print(json.dumps({"verdict": "error", "error": said}))
        else:
            print(f"error: {said}", file=sys.stderr)
        return 2
    print(shown)
    return result.exit_code


def _said(error: BaseException, args: argparse.Namespace) -> str:
    """What went wrong, in one line; after the traceback of what somebody's own code raised, from their file on."""
    if isinstance(error, TinygradError):
        return str(error)
    path, trace = Path(args.target.partition("::")[0]).resolve(), error.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename).resolve() != path:
        trace = trace.tb_next
    if trace is not None:
        traceback.print_tb(trace)
    hints = {SystemExit: "the file ends the program, so nothing was checked", MemoryError: "say --fast, or take fewer numbers"}
    hint = next((text for kind, text in hints.items() if isinstance(error, kind)), "")
    return ": ".join(filter(None, [type(error).__name__, str(error), hint]))


def _read(args: argparse.Namespace) -> tuple[Any, list[Any], dict[str, Any]]:
    path, found, name = args.target.partition("::")
    if not found or not name:
        raise TinygradError(f"{args.target!r} names no function; say FILE.py::NAME")
    module = _module(Path(path))
    f = _named(module, name)
    f = f() if isinstance(f, type) and not hasattr(f, "backward") else f  # a module that is made without arguments
    inputs = _inputs(args, module, name, f)
    how: dict[str, Any] = {key: _named(module, value) for key in ("vjp", "backward") if (value := getattr(args, key))}
    how |= {key: value for key in ("value_and_grad", "engine") if (value := getattr(args, key))}
    if how:
        return f, inputs, how
    if hasattr(module, f"{name}_vjp"):
        how["vjp"] = getattr(module, f"{name}_vjp")
    elif "forward" in name and hasattr(module, name.replace("forward", "backward")):
        how["backward"] = getattr(module, name.replace("forward", "backward"))
    elif (rules := _rules(module, name)) and found_engine(f, inputs) == "tensors":
        raise TinygradError(
            f"{path} has {' and '.join(rules)}, and {name} would be checked without: say --vjp of a rule(g, *inputs), "
            "--backward of a rule(dout, cache), or --engine tensors for the gradient that tinygrad2's Tensors have"
        )
    return f, inputs, how


def _rules(module: ModuleType, name: str) -> list[str]:
    """The functions in a file whose names say that they are the gradient of another."""
    alike = (n for n in vars(module) if n != name and PASS.sub("", n) == PASS.sub("", name))
    return [n for n in alike if any(match[2] for match in PASS.finditer(n)) and callable(getattr(module, n))]


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        raise TinygradError(f"there is no file {str(path)!r}")
    name = f"_checked_{path.stem}"  # a file may be called torch.py
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TinygradError(f"{str(path)!r} is no Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _named(module: ModuleType, name: str) -> Any:
    f = getattr(module, name, None)
    if not callable(f):
        there = ", ".join(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
        raise TinygradError(f"{module.__file__} has no function {name!r}; it has {there or 'none'}")
    return f


def _inputs(args: argparse.Namespace, module: ModuleType, name: str, f: Any) -> list[Any]:
    rng = np.random.default_rng(max(args.seed, 0))  # gradcheck refuses what is below
    if args.inputs is not None:
        return [_input(spec.strip(), rng) for spec in args.inputs.split(",")]
    given = getattr(module, f"{name}_inputs", None)
    if given is not None:
        return list(given() if callable(given) else given)
    parameters = inspect.signature(getattr(f, "forward", f)).parameters.values()
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    wanted = [p for p in wanted if p.name != "ctx"]  # of a Function of PyTorch
    if not wanted:
        raise TinygradError(f"{name}: what are its inputs? Say --inputs 3x4,4, or write {name}_inputs = [...] into the file")
    return [rng.standard_normal((3, 4)) for _ in wanted]


def _input(spec: str, rng: np.random.Generator) -> Any:
    """An array of the shape and the kind that a text says."""
    match = SPEC.fullmatch(spec)
    if match is None:
        raise TinygradError(f"--inputs: {spec!r} is no shape; say 3x4, 0d, 3x4+, 3x4? or 5<10")
    shape = () if match["shape"] == "0d" else tuple(map(int, match["shape"].split("x")))
    kind = match["kind"]
    if kind is None:
        return np.asarray(rng.standard_normal(shape))
    if kind == "+":
        return np.asarray(rng.uniform(0.5, 2.0, shape))
    return rng.random(shape) < 0.5 if kind == "?" else rng.integers(0, int(kind[1:]), shape)


if __name__ == "__main__":
    sys.exit(main())
