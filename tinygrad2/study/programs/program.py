"""A straight-line program as data, and its text."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tinygrad2.ops.op import Op
from tinygrad2.types import Array

WIDTH = 120


@dataclass
class Line:
    """One statement.

    code   without a comment, on one line
    note   the shapes of what it sets
    path   of the module that it belongs to
    op     the op whose rule it begins, if it is one of the backward pass
    """

    code: str
    note: str = ""
    path: str = ""
    op: type[Op] | None = None


@dataclass
class Phase:
    """A forward or a backward pass."""

    title: str
    lines: list[Line] = field(default_factory=list)


@dataclass
class Program:
    """Everything that `explain` knows of a step.

    imports, functions   what the lines need
    inputs       arrays by the name of their variable
    layouts      the strides of those that a file would not keep
    phases       what is computed, in order
    gradients    from the name of each leaf to the variable of its gradient, one dict per loss
    losses       variables
    paths        from a variable to the module that it belongs to
    derivatives  from a variable to that of its gradient
    taken        all names that there are
    by_spec      whether fused ops are written by their specifications, which gives the same but for rounding
    """

    imports: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    inputs: dict[str, Array] = field(default_factory=dict)
    layouts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)
    gradients: list[dict[str, str]] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)
    derivatives: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    by_spec: bool = False

    def new(self, name: str) -> str:
        """A name that nothing has yet."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


class Writer:
    """Puts lines on paper: a comment where the module changes, and the formula of an op where it is first used.

    By specifications, names alone say which module it is within a block, and a note may give way to its line.
    """

    def __init__(self, by_spec: bool = False) -> None:
        self._by_spec = by_spec
        self._shown: set[type[Op]] = set()

    def lines(self, lines: list[Line], indent: str = "") -> list[str]:
        """The text of some lines."""
        text: list[str] = []
        path = None
        for line in lines:
            here = _block(line.path) or line.path.partition(".")[0] if self._by_spec else line.path
            if here != path:
                apart = not here or _block(here) != _block(path or "")
                path = here
                text += [""] * bool(text and apart) + [f"{indent}# {path}"] * bool(path)
            if line.op is not None and line.op not in self._shown:
                self._shown.add(line.op)
                text += [indent + "#   " + part for part in _formula(line.op)]
            fits = len(f"{indent}{line.code}  # {line.note}") <= WIDTH
            note = line.note if fits or not self._by_spec or len(indent + line.code) > WIDTH else ""
            text += [indent + part for part in _laid_out(replace(line, note=note), WIDTH - len(indent))]
        return text


def _block(path: str) -> str:
    """The part of a path up to a number: "h.0" of "h.0.attn"."""
    return next(iter(re.findall(r"^.*?\.\d+(?=\.|$)", path)), "")


def plain(program: Program) -> str:
    """The text of a program, every line written out."""
    writer = Writer(program.by_spec)
    loads = ["# Inputs: the leaves first, then constants", *(load(program, name, name) for name in program.inputs)]
    if program.by_spec:
        shapes = ", ".join(f"{name} {x.shape}".replace(" ", "\0") for name, x in program.inputs.items())
        loads = ["# Inputs, with their shapes: the leaves first, then constants", *_wrapped(shapes, "#   ")]
        loads.append("globals().update(inputs)")
    parts = [*head(program), "\n".join(loads)]
    for number, phase in enumerate(program.phases):
        parts.append("\n".join([f"# {phase.title}", "", *writer.lines(phase.lines)]))
        if number % 2:
            parts.append(gradient_lines(program, number // 2))
    return "\n\n".join([*parts, ending(program)]) + "\n"


def load(program: Program, name: str, variable: str) -> str:
    """The line that gives a variable its input."""
    array, text = program.inputs[name], f'inputs["{name}"]'
    if name in program.layouts:
        text = f"laid_out({text}, {program.layouts[name]})"
    return f"{variable} = {text}  # {array.shape} {array.dtype}"


def head(program: Program) -> list[str]:
    """What comes before the inputs are named."""
    several = len(program.losses) > 1
    title = f"{len(program.losses)} losses and the sum of their gradients" if several else "A loss and its gradient"
    rules = """Where a rule is used for the first time, its formula is above it: `g` is the
gradient of the result `out`, and `d_x` is then still to be summed over the axes along which `x` was broadcast."""
    if program.by_spec:
        rules = """An op of several steps, such as `layer_norm`, is a function; `layer_norm_vjp`
takes the gradient `g` of its result and gives those of its inputs. What the engine gives differs from this by rounding."""
    docstring = f'''"""{title}, op by op, in NumPy alone: written by tinygrad2.study.explain.

Run it beside inputs.npz: it leaves `loss`{" (a list)" if several else ""}, and in `grads` the gradient of every leaf by name.

`d_x` is the gradient of the loss with respect to `x`. Backward goes through the ops from last to first; each gives every one
of its inputs a part of its gradient, `part` where it needs more work. `d_x += ...` adds a part in place; `d_x = d_x + ...`
makes a new array, where what came first is also something else, such as the gradient of another value.
Behind each line is the shape of what it sets. {rules}

First come the functions that the step needs; it starts at "Inputs".
"""'''
    imports = {*program.imports, "from pathlib import Path"} - {"import numpy as np"}
    load = 'inputs = np.load(Path(__file__).with_name("inputs.npz"))'
    top = "\n".join([docstring, "", *sorted(imports, key=lambda line: (line[:4] == "from", line)), "", "import numpy as np"])
    return [top, *program.functions, load]


def ending(program: Program) -> str:
    """The line that names the result."""
    losses = program.losses
    return f"loss = {losses[0] if len(losses) == 1 else '[' + ', '.join(losses) + ']'}"


def gradient_lines(
    program: Program, number: int, names: Mapping[str, str] | None = None, modules: Mapping[str, str] | None = None
) -> str:
    """What becomes of the gradients that a backward pass has found.

    `names` are what the variables are called, if they have other names than in the lines; `modules` have their gradients in
    a namespace: those of modules that are alike are taken in a loop.
    """
    found = program.gradients[number]
    before = {key for earlier in program.gradients[:number] for key in earlier}
    groups: dict[tuple[str, ...], list[str]] = {}
    for module in modules or {}:
        rest = tuple(key.removeprefix(f"{module}.") for key in found if key.startswith(f"{module}."))
        if all(names and names[found[f"{module}.{r}"]] == f"{(modules or {})[module]}.{r.replace('.', '_')}" for r in rest):
            groups.setdefault(rest, []).append(module)
    looped = {f"{module}.{r}" for rest, some in groups.items() for module in some for r in rest}
    single = {key: names[name] if names else name for key, name in found.items() if key not in looped}
    if number:
        lines = ["# The gradients of several losses add up"]
        lines += [f'grads["{key}"] = ' + f'grads["{key}"] + ' * (key in before) + name for key, name in single.items()]
    else:
        pairs = ", ".join(f'"{key}":\0{name}' for key, name in single.items())
        lines = ["grads = {", *_wrapped(pairs, "    "), "}"]
    for rest, some in groups.items():
        which = ", ".join(f'"{module}": {(modules or {})[module]}' for module in some)
        lines.append(f"for path, gradients in {{{which}}}.items():")
        lines += [
            *_listed("for name in ", rest, "    "),
            '        key, d = f"{path}.{name}", getattr(gradients, name.replace(".", "_"))',
        ]
        lines.append("        grads[key] = grads[key] + d if key in grads else d" if number else "        grads[key] = d")
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> list[str]:
    """Text on as many lines as it takes; spaces that are written as zeros do not end one."""
    lines = textwrap.wrap(text, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    return [indent + line.replace("\0", " ") for line in lines]


def _listed(start: str, items: Sequence[str], indent: str) -> list[str]:
    """A loop over strings, on as many lines as they take."""
    text = ", ".join(f'"{item}"' for item in items) + "," * (len(items) == 1)
    if len(text) + len(start) < WIDTH - 8:
        return [f"{indent}{start}({text}):"]
    return [
        f"{indent}{start}(",
        *textwrap.wrap(text, WIDTH, initial_indent=indent * 2, subsequent_indent=indent * 2),
        f"{indent}):",
    ]


def _formula(op: type[Op]) -> list[str]:
    """What is shown of the rules of an op: their steps, and what they give for each input, all executable."""
    names = dict(enumerate(op.arguments)) if op.arity is not None else {"i": "arrays[i]"}
    found = {name: formula for i, name in names.items() if (formula := op.formula(i)) is not None}
    steps = dict.fromkeys(step for formula in found.values() for step in formula.steps)
    parts = [*steps, *(f"d_{name} = {formula.result}" for name, formula in found.items())]
    if not parts:
        return []
    if len("; ".join(parts)) + len(op.name) < WIDTH - 16:
        return [f"{op.name}: {'; '.join(parts)}"]
    return [f"{op.name}:", *("  " + part for part in parts)]


def _laid_out(line: Line, width: int) -> list[str]:
    """A statement with its note, on several lines where one is too short."""
    note = f"  # {line.note}" if line.note else ""
    if len(line.code) + len(note) <= width:
        return [line.code + note]
    start, middle, end = _split(line.code)
    if not start:
        return [line.code + note] if len(line.code) <= width else [line.code, *([f"# {line.note}"] if line.note else [])]
    inside = middle if len(middle) + 4 <= width else ""
    body = ["    " + inside] if inside else _wrapped(middle, "    ")
    return [start, *body, end + note]


def _split(code: str) -> tuple[str, str, str]:
    """A statement before, in and after the parentheses of the call that it ends with; empty if it does not."""
    node: Any = ast.parse(code).body[0]
    call = getattr(node, "value", None)
    if isinstance(call, ast.Call) and code.endswith(")") and call.end_col_offset == len(code.encode()):
        position = len(code.encode()[: call.func.end_col_offset].decode()) + 1
        return code[:position], code[position:-1], ")"
    return "", "", ""
