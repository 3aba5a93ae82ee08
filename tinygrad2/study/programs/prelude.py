"""The source of rules and kernels, edited so that it runs on its own: what `explain` writes above a program.

What the kernels do for several threads and for bfloat16 is left out: neither changes a float32 number.
"""

from __future__ import annotations

import ast
import builtins
import copy
import importlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from tinygrad2 import kernels
from tinygrad2.errors import GraphError
from tinygrad2.kernels import reference
from tinygrad2.kernels.fast import products, threads
from tinygrad2.ops.indexing import scatter
from tinygrad2.ops.op import Fused, Op
from tinygrad2.ops.source import syntax, written
from tinygrad2.study.programs.choices import without_choices
from tinygrad2.study.programs.stand_ins import PLAIN, STAND_INS, TRANSPARENT


class Prelude:
    """Functions and constants by name, each after what it needs; they are executed in `space` as they come."""

    def __init__(self, space: dict[str, Any], taken: set[str], by_spec: bool = False) -> None:
        self.space, self.taken, self.by_spec = space, taken, by_spec
        self.imports: set[str] = {"import numpy as np"}
        self.texts: list[str] = []
        self._names: dict[Any, str] = {}

    def function(self, f: Callable[..., Any], name: str) -> str:
        """The name of a function that the prelude has from now on."""
        f = STAND_INS.get(f, f)
        if self.by_spec and f in PLAIN:
            return f"np.{PLAIN[f].__name__}"
        return self._written(f, name, source_of(f), set())

    def specialised(self, f: Callable[..., Any], name: str, absent: Collection[str]) -> tuple[str, set[str]]:
        """The name of a function for calls in which the parameters `absent` are None, and the parameters that it then lacks."""
        source, unread = without_choices(source_of(f), absent)
        return self._written(f, name, source, unread), unread

    def _written(self, f: Callable[..., Any], name: str, source: str, unread: set[str]) -> str:
        key = f, source, frozenset(unread)
        if key not in self._names:
            self._names[key] = self._new(name)
            self._add(_Edited(self, f, self._names[key], source, unread).text)
        return self._names[key]

    def resolve(self, names: Mapping[str, Any], name: str) -> str:
        """What a global name of some module is called here."""
        value = names.get(name, getattr(builtins, name, None))
        if value is scatter:
            raise GraphError("explain: a rule of several lines calls scatter; write it in one line, or as np.add.at on zeros")
        if isinstance(value, ModuleType):
            self._import(f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}"))
        elif isinstance(inspect.unwrap(value) if callable(value) else value, FunctionType):
            return self.function(value, value.__name__)
        elif inspect.ismethod(value) and isinstance(value.__self__, type) and issubclass(value.__self__, Op):
            op: Any = value.__self__
            if not issubclass(op, Fused):
                return self.function(op.forward, op.name)
            raise GraphError(f"explain: a rule calls the fused op {op.name}, which cannot be written out; call its kernel")
        elif isinstance(value, type) and name in names:
            raise GraphError(f"explain: a rule uses the class {name}, which cannot be written out; use functions and constants")
        elif name in names:
            return self._constant(names, name)
        return name

    def attribute(self, names: Mapping[str, Any], owner: str, attribute: str) -> str | None:
        """What `kernels.softmax` or `Logsumexp.forward` is called here; None for anything else."""
        value = names.get(owner)
        if value is kernels or value is reference:
            return self.resolve(vars(reference), attribute)
        if isinstance(value, type) and issubclass(value, Op) and attribute == "forward" and not issubclass(value, Fused):
            return self.function(value.forward, value.name)
        if isinstance(value, type) and issubclass(value, Fused) and attribute == "spec":
            return self.function(value.spec, value.name)
        return None

    def _constant(self, names: Mapping[str, Any], name: str) -> str:
        module = names["__name__"]
        if name in _imported(module):
            return self.resolve(vars(importlib.import_module(_imported(module)[name])), name)
        key = module, name
        if key not in self._names:
            if name not in _assignments(module):
                raise GraphError(f"explain: {name} of {module} is not defined there, so a program cannot contain it")
            line, used = _assignments(module)[name]
            for other in used - {name}:
                self.resolve(names, other)
            self._names[key] = self._new(name)
            self._add(re.sub(rf"\b{name}\b", self._names[key], line))
        return self._names[key]

    def _new(self, name: str) -> str:
        while name in self.taken:
            name += "_function"
        self.taken.add(name)
        return name

    def _import(self, line: str) -> None:
        self.imports.add(line)
        exec(line, self.space)

    def _add(self, text: str) -> None:
        exec(text, self.space)
        self.texts.append(text)


class _Edited:
    """The text of a function under another name: no annotations, no checks, no threads, no bfloat16."""

    def __init__(self, prelude: Prelude, f: Any, name: str, source: str, unread: set[str]) -> None:
        self.prelude, self.names, self.unread = prelude, inspect.unwrap(f).__globals__, unread
        source = _without_threads(source)
        tree = ast.parse(source).body[0]
        assert isinstance(tree, ast.FunctionDef)
        self.lines = source.splitlines(keepends=True)
        self.starts = [0, *itertools.accumulate(len(line.encode()) for line in self.lines)]
        self.edits: list[tuple[int, int, str]] = []
        self.own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.own |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        self.own |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        start = self._at(tree.lineno, tree.col_offset) + len("def ")
        self.edits.append((start, start + len(tree.name), name))
        for decorator in tree.decorator_list:
            if ast.unparse(decorator) == "staticmethod":
                self._cut(self._at(decorator.lineno, 0), self._at(decorator.lineno + 1, 0))
            else:
                self._visit(decorator)
        self._signature(tree)
        for statement in tree.body:
            self._visit(statement)
        if ast.get_docstring(tree) is not None:
            summary = (ast.get_docstring(tree) or "").splitlines()[0]
            self._cut(self._start(tree.body[0]), self._end(tree.body[0]), f'"""{summary}"""')
        text = source.encode()
        for begin, end, replacement in sorted(self.edits, reverse=True):
            text = text[:begin] + replacement.encode() + text[end:]
        lines = [REMARK.sub("", line).rstrip() for line in text.decode().splitlines()]
        self.text = "\n".join(line for line in lines if line)

    def _at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def _start(self, node: Any) -> int:
        return self._at(node.lineno, node.col_offset)

    def _end(self, node: Any) -> int:
        return self._at(node.end_lineno, node.end_col_offset)

    def _cut(self, start: int, end: int, replacement: str = "") -> None:
        self.edits.append((start, end, replacement))

    def _signature(self, f: ast.FunctionDef) -> None:
        """Names and defaults, on one line."""
        bare = copy.deepcopy(f.args)
        pairs = zip(bare.kwonlyargs, bare.kw_defaults, strict=True)
        bare.kw_defaults = [default for p, default in pairs if p.arg not in self.unread]
        bare.args, bare.kwonlyargs = ([p for p in ps if p.arg not in self.unread] for ps in (bare.args, bare.kwonlyargs))
        for argument in [n for n in ast.walk(bare) if isinstance(n, ast.arg)]:
            argument.annotation = None
        text = "".join(self.lines).encode()
        start = self._start(f) + len(f"def {f.name}")
        end = text.rindex(b":", 0, self._at(f.body[0].lineno, 0)) if f.returns is None else self._end(f.returns)
        end = text.index(b":", end)
        self._cut(start, end, f"({ast.unparse(bare)})")

    def _visit(self, node: ast.AST) -> None:
        if is_check(node):
            assert isinstance(node, ast.stmt)
            self._cut(self._at(node.lineno, 0), self._at((node.end_lineno or 0) + 1, 0))
            return
        if isinstance(node, ast.FunctionDef):
            self._signature(node)
            for statement in node.body:
                self._visit(statement)
            return
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            self._cut(self._end(node.target), self._end(node.annotation))
            self._visit(node.value)
            return
        if isinstance(node, ast.Call) and self._call(node):
            return
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id not in self.own:
            name = self.prelude.attribute(self.names, node.value.id, node.attr)
            if name is not None:
                self._cut(self._start(node), self._end(node), name)
                return
        if isinstance(node, ast.Name) and node.id not in self.own:
            name = self.prelude.resolve(self.names, node.id)
            if name != node.id:
                self._cut(self._start(node), self._end(node), name)
        for child in ast.iter_child_nodes(node):
            self._visit(child)

    def _call(self, node: ast.Call) -> bool:
        """Whether this was a call of what the program does without."""
        f = self.names.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if f in TRANSPARENT:
            self._cut(self._start(node), self._start(node.args[0]))
            self._cut(self._end(node.args[0]), self._end(node))
            self._visit(node.args[0])
        elif f is products.rounds:
            self._cut(self._start(node), self._end(node), "False")
        elif f is products.matmul and len(node.args) == 2 and not node.keywords:
            a, b = node.args
            self._cut(self._start(node), self._start(a), "")
            self._cut(self._end(a), self._start(b), " @ ")
            self._cut(self._end(b), self._end(node), "")
            self._visit(a)
            self._visit(b)
        else:
            return False
        return True


REMARK = re.compile(r"\s*# (?:noqa|type: ignore)\b.*")
"""What is said to the tools that check the source."""


def is_check(node: ast.AST) -> bool:
    """Whether a statement can only raise: what has run once needs no checks."""
    if isinstance(node, (ast.If, ast.For)) and not node.orelse:
        return isinstance(node.body[-1], ast.Raise) or is_check(node.body[-1])
    return False


def source_of(f: Callable[..., Any]) -> str:
    """The text of a function, as `def` even if it is a lambda. Raises GraphError where it is not to be had."""
    f = written(f)
    free = getattr(getattr(f, "__code__", None), "co_freevars", ())
    if free:
        raise GraphError(f"explain: a rule reads {', '.join(free)} from a function around it; give it as a setting of the op")
    node = syntax(f)
    if isinstance(node, ast.Lambda):
        return f"def rule({ast.unparse(node.args)}):\n    return {ast.unparse(node.body)}\n"
    try:
        return textwrap.dedent(inspect.getsource(f))
    except (OSError, TypeError) as error:
        raise GraphError(f"explain: the source of {f!r} cannot be read; define it in a file") from error


@cache
def _assignments(module: str) -> dict[str, tuple[str, set[str]]]:
    """The line of a module that gives a name its value, and the names that it uses, by name."""
    source = inspect.getsource(importlib.import_module(module))
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            line = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            found[node.targets[0].id] = line, {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return found


@cache
def _imported(module: str) -> dict[str, str]:
    """From which module a module has a name, for those that it imports under their own names."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    parts = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {part.name: node.module or "" for node in parts for part in node.names if part.asname is None}


def _without_threads(source: str) -> str:
    """`def work(span): ...` and `share(work, n)`, which gives parts of 0..n to threads, as the work itself on all of 0..n."""
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    lines = source.splitlines()
    works = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in reversed(tree.body):
        call = getattr(node, "value", None)
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == threads.share.__name__ and len(call.args) > 1):
            continue
        if not isinstance(call.args[0], ast.Name) or call.args[0].id not in works:
            continue
        work, everything = works[call.args[0].id], f"slice(0, {ast.unparse(call.args[1])})"
        if isinstance(node, ast.Expr):
            (span,) = work.args.args
            body = lines[work.body[0].lineno - 1 : work.end_lineno]
            body = [re.sub(rf"\b{span.arg}\b", everything, line[4:]) for line in body]
            lines[node.lineno - 1 : node.end_lineno] = []
            lines[work.lineno - 1 : work.end_lineno] = body
        else:
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = f"{line[: call.col_offset]}[{work.name}({everything})]"
    return re.sub(r"\b(\w+)\[slice\(0, len\(\1\)\)\]", r"\1", "\n".join(lines)) + "\n"
