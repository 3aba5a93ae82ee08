"""A program in which modules that repeat, such as the blocks of a transformer, are functions.

Each of them has its values in a namespace, `h_0.attn_c_attn_weight`, and their gradients in another, `d_h_0`. Two modules have
one function where their lines are the same but for names: what is compared, and written, is the text.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import groupby

from tinygrad2.study.programs.program import Line, Program, Writer, ending, gradient_lines, head, load, plain

MODULE = '''def module(prefix):
    """The inputs whose names begin so, by the rest of their names."""
    return SimpleNamespace(**{name.removeprefix(prefix): inputs[name] for name in inputs if name.startswith(prefix)})'''


@dataclass
class _Run:
    """Lines of one module in a row, and what they say of any module like it: `m.add = x + m.c_proj`.

    arguments, results   variables of other modules that are read before they are set, and that are set
    """

    module: str
    lines: list[Line]
    generic: list[Line] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[object, ...]:
        """What two runs have in common that can be one function."""
        ends = [self.names[name] for name in self.arguments], [self.names[name] for name in self.results]
        return str(ends), *((line.code, line.note, line.path) for line in self.generic)


def collapsed(program: Program) -> str:
    """The text of a program with a function for each module that repeats; that of `plain` where none does."""
    runs = [_runs(program, phase.lines) for phase in program.phases]
    counts = Counter(run.key for phase in runs for run in phase if run.module)
    modules = list(dict.fromkeys(run.module for phase in runs for run in phase if run.module and counts[run.key] > 1))
    if not modules:
        return plain(program)
    program.imports.append("from types import SimpleNamespace")
    spaces = {module: program.new(re.sub(r"\W", "_", module)) for module in modules}
    names = _names(program, spaces)
    writer, functions, called = Writer(program.by_spec), [], dict[tuple[object, ...], str]()
    parts = []
    for number, phase in enumerate(runs):
        kind = "backward" if number % 2 else "forward"
        lines = [f"# {program.phases[number].title}"]
        for run in phase:
            if counts[run.key] < 2 or not run.module:
                lines += ["", *writer.lines([replace(line, code=_renamed(line.code, names)) for line in run.lines])]
                continue
            if run.key not in called:
                called[run.key] = program.new(re.sub(r"\W", "_", run.module.rpartition(".")[0] or "module") + f"_{kind}")
                functions.append(_function(writer, run, called[run.key], kind))
            space = spaces[run.module]
            given = ", ".join([space, *[f"d_{space}"] * (kind == "backward"), *(names[name] for name in run.arguments)])
            results = ", ".join(names[name] for name in run.results)
            lines += ["", f"# {run.module}", f"{results} = " * bool(results) + f"{called[run.key]}({given})"]
        parts.append("\n".join(lines))
        if number % 2:
            parts.append(gradient_lines(program, number // 2, names, {m: f"d_{space}" for m, space in spaces.items()}))
    return "\n\n".join([*head(program), MODULE, *functions, _loads(program, spaces, names), *parts, ending(program)]) + "\n"


def _module(path: str) -> str:
    """The outermost module of a list that a path leads through: "h.3" of "h.3.attn"; empty where there is none."""
    parts = path.split(".")
    return next((".".join(parts[: i + 1]) for i, part in enumerate(parts) if part.isdigit() and i), "")


def _rest(program: Program, name: str) -> str:
    """A variable in its module's namespace: "attn_c_attn_weight" of h_3_attn_c_attn_weight and of its gradient."""
    values = {d: value for value, d in program.derivatives.items()}
    prefix = re.sub(r"\W", "_", _module(program.paths[name])) + "_"
    rest = values.get(name, name).removeprefix(prefix)
    return rest if rest.isidentifier() and not keyword.iskeyword(rest) else f"_{rest}"


def _names(program: Program, spaces: dict[str, str]) -> dict[str, str]:
    """What every variable is called outside of the functions."""
    derivatives = set(program.derivatives.values())
    names = {}
    for name, path in program.paths.items():
        space = spaces.get(_module(path))
        names[name] = name if space is None else f"{'d_' * (name in derivatives)}{space}.{_rest(program, name)}"
    return names


def _runs(program: Program, lines: list[Line]) -> list[_Run]:
    runs = [_Run(module, list(some)) for module, some in groupby(lines, lambda line: _module(line.path))]
    for run in runs:
        if run.module:
            _generalise(program, run)
    return runs


def _generalise(program: Program, run: _Run) -> None:
    """Find what a run reads and sets, and say it of a module `m` and its gradients `d`."""
    derivatives = {d: value for value, d in program.derivatives.items()}
    others: list[str] = []
    for line in run.lines:
        read, written = _uses(line.code)
        for name in [*read, *written]:
            if name not in program.paths or name in run.names:
                continue
            if _module(program.paths[name]) == run.module:
                run.names[name] = f"{'d' if name in derivatives else 'm'}.{_rest(program, name)}"
                continue
            base = derivatives.get(name, name)
            others += [base] * (base not in others)
            number = others.index(base) + 1
            run.names[name] = f"{'d_' * (name in derivatives)}x{f'_{number}' * (number > 1)}"
        foreign = [name for name in read if "." not in run.names.get(name, ".") and name not in run.results]
        run.arguments += [name for name in dict.fromkeys(foreign) if name not in run.arguments]
        set_here = [name for name in written if "." not in run.names.get(name, ".")]
        run.results += [name for name in dict.fromkeys(set_here) if name not in run.results]
    for line in run.lines:
        path = line.path.removeprefix(run.module).removeprefix(".")
        run.generic.append(replace(line, code=_renamed(line.code, run.names), path=path))


def _uses(code: str) -> tuple[list[str], list[str]]:
    """The names that a statement reads and those that it sets."""
    tree = ast.parse(code)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    both = [n.target.id for n in ast.walk(tree) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)]
    return [n.id for n in names if isinstance(n.ctx, ast.Load)] + both, [n.id for n in names if isinstance(n.ctx, ast.Store)]


def _renamed(code: str, names: dict[str, str]) -> str:
    class Rename(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.parse(names.get(node.id, node.id), mode="eval").body

    return ast.unparse(Rename().visit(ast.parse(code)))


def _function(writer: Writer, run: _Run, name: str, kind: str) -> str:
    arguments = ["m", *["d"] * (kind == "backward"), *(run.names[name] for name in run.arguments)]
    results = [run.names[name] for name in run.results]
    group = run.module.rpartition(".")[0] or run.module
    docstring = f"Forward through one module of `{group}`: its weights are in `m`, and its values join them."
    if kind == "backward":
        docstring = f"Backward through one module of `{group}`: `d` has the gradient of its result, and gets those of the rest."
    text = [f"def {name}({', '.join(arguments)}):", f'    """{docstring}"""', *writer.lines(run.generic, "    ")]
    return "\n".join([*text, *[f"    return {', '.join(results)}"] * bool(results)])


def _loads(program: Program, spaces: dict[str, str], names: dict[str, str]) -> str:
    lines = ["# Inputs: the leaves first, then constants, then those of whole modules"]
    lines += [load(program, name, names[name]) for name in program.inputs if names[name] == name]
    for module, space in spaces.items():
        lines.append(f'{space}, d_{space} = module("{re.sub(r"[^A-Za-z0-9_]", "_", module)}_"), SimpleNamespace()')
    inside = [name for name in program.layouts if names[name] != name]
    return "\n".join([*lines, *(load(program, name, names[name]) for name in inside)])
