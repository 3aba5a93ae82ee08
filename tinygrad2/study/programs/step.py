"""From a recorded step to the lines of its program.

The program is executed while it is written: each line is there because of what the lines before it gave, such as whether an
array is also some other gradient and may not be added to in place. Sums are made as `autograd.backpropagate` makes them.
"""

from __future__ import annotations

import ast
import builtins
import heapq
import inspect
import keyword
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from tinygrad2.autograd import unbroadcast
from tinygrad2.errors import GraphError
from tinygrad2.ops.op import Array, add_rows
from tinygrad2.study.programs.inline import expression
from tinygrad2.study.programs.literals import literal
from tinygrad2.study.programs.prelude import Prelude
from tinygrad2.study.programs.program import Line, Phase, Program
from tinygrad2.study.programs.stand_ins import laid_out, rule_of
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Trace, unique_names

RESERVED = {*keyword.kwlist, *dir(builtins), "np", "math", "functools", "itertools", "Path", "SimpleNamespace"}
RESERVED |= {"inputs", "loss", "grads", "part", "_", "path", "gradients", "name", "key", "d"}
RESERVED |= {"file", "allow_pickle"}  # np.savez means something else by these


class Step:
    """Writes the program, and keeps what its lines have computed so far in `space`."""

    def __init__(self, traces: list[Trace]) -> None:
        self.program = Program(taken=set(RESERVED))
        self.space: dict[str, Any] = {}
        self.prelude = Prelude(self.space, self.program.taken)
        self.names: dict[Any, str] = {}  # by node: records apart have Values apart for one leaf
        self.saved: dict[Any, str] = {}
        self.constants: dict[int, tuple[str, Array]] = {}
        values = {value.node: value for trace in reversed(traces) for value in reversed(trace.values)}
        self._name(sorted(values.values(), key=lambda value: (not value.is_leaf, value.number)))
        self._check(traces)
        for number, trace in enumerate(traces):
            which = f" of loss {number + 1}" if len(traces) > 1 else ""
            self.lines: list[Line] = []
            self.program.phases.append(Phase(f"Forward{which}", self.lines))
            for value in trace.results:
                if self.names[value.node] not in self.space:
                    self._forward(value)
            self.lines = []
            self.program.phases.append(Phase(f"Backward{which}", self.lines))
            self._backward(trace)
            self.program.losses.append(self.names[trace.output.node])
        self.program.imports, self.program.functions = sorted(self.prelude.imports), self.prelude.texts

    def _check(self, traces: list[Trace]) -> None:
        for trace in traces:
            if trace.output.array.size != 1:
                raise GraphError(f"explain: the loss has shape {trace.output.array.shape}, not one number; sum it first")
            for value in trace.values:
                if value.node.hooks:
                    raise GraphError(f"explain: {value.full_name} has a backward hook, which no program can contain; remove it")

    # -- names
    def _new(self, name: str, path: str) -> str:
        name = self.program.new(name)
        self.program.paths[name] = path
        return name

    def _name(self, values: list[Value]) -> None:
        shown = unique_names(values)
        for value in values:
            self.names[value.node] = self._new(shown[value], value.path)
        for value in values:
            name = self.names[value.node]
            self.program.derivatives[name] = self._new(f"d_{name}", value.path)
        seen: set[str] = set()
        self.keys = {}
        for value in values:
            if value.is_leaf:
                self.keys[value.node] = value.full_name if value.full_name not in seen else shown[value]
                seen.add(self.keys[value.node])
                self._input(self.names[value.node], value.array)

    def _input(self, name: str, array: Array) -> None:
        self.program.inputs[name] = self.space[name] = array
        if not (array.flags.c_contiguous or array.flags.f_contiguous):
            self.prelude.function(laid_out, "laid_out")
            self.program.layouts[name] = array.strides

    def _derivative(self, node: Any) -> str:
        return self.program.derivatives[self.names[node]]

    # -- rules as text
    def _literal(self, value: Any, name: str, path: str) -> tuple[ast.expr, ast.expr]:
        """A constant as it is written, by itself and between square brackets; an array becomes an input of that name."""

        def constant(array: Array) -> str:
            if id(array) not in self.constants:
                self.constants[id(array)] = self._new(name, path), array
                self._input(*self.constants[id(array)])
            return self.constants[id(array)][0]

        return literal(value, constant)

    def _rule(self, value: Value, f: Callable[..., Any], name: str, before: list[str]) -> ast.expr:
        """A rule applied to `before` (the gradient and what was saved, for a vjp), the inputs, and the settings."""
        assert value.op is not None
        signature = _parameters(f)
        positions = [p.name for p in _parameters(value.op.forward) if p.kind is p.POSITIONAL_OR_KEYWORD]
        pairs = [(_expr(x), _expr(x)) for x in before]
        for i, (x, array) in enumerate(zip(value.inputs, value.arrays, strict=True)):
            own = f"{self.names[value.node]}_{positions[i] if i < len(positions) else i}"
            expr = _expr(self.names[x.node]) if x is not None else None
            pairs.append((expr, expr) if expr is not None else self._literal(array, own, value.path))
        settings = {
            p.name: self._literal(value.params.get(p.name, p.default), f"{self.names[value.node]}_{p.name}", value.path)
            for p in signature
            if p.kind is p.KEYWORD_ONLY
        }
        bound, rest = dict(settings), list(pairs)
        for p in signature:
            if p.kind is p.POSITIONAL_OR_KEYWORD:
                bound[p.name] = rest.pop(0)
            elif p.kind is p.VAR_POSITIONAL:
                together = ast.Tuple([expr for expr, _ in rest])
                bound[p.name] = together, together
        found = expression(self.prelude, f, {k: v[0] for k, v in bound.items()}, {k: v[1] for k, v in bound.items()})
        if found is not None:
            return found
        keywords = [ast.keyword(k, v[0]) for k, v in settings.items() if k in value.params]
        return ast.Call(_expr(self.prelude.function(f, name)), [expr for expr, _ in pairs], keywords)

    def _eval(self, expr: ast.expr) -> Any:
        return eval(ast.unparse(expr), self.space)

    # -- forward
    def _forward(self, value: Value) -> None:
        assert value.op is not None
        rule, fused = rule_of(value.op, value.arrays)
        name = self.names[value.node]
        expr = self._rule(value, rule.forward, f"{value.op.name}_forward", [])
        result = self._eval(expr)
        self.saved[value.node] = name
        if fused:
            self.saved[value.node] = self._new(f"{name}_saved", value.path)
            self.space[name], self.space[self.saved[value.node]] = result
            code = f"{name}, {self.saved[value.node]} = {ast.unparse(expr)}"
        else:
            self.space[name] = np.asarray(result)
            code = f"{name} = {ast.unparse(_as_array(expr, result))}"
        self.lines.append(Line(code, str(self.space[name].shape), value.path))

    # -- backward
    def _backward(self, trace: Trace) -> None:
        loss = trace.output.node
        self.order: list[tuple[int, Any]] = [(-loss.number, loss)]
        self.arrived, self.owned = {loss}, set[Any]()
        d = self._derivative(loss)
        self.space[d] = np.ones_like(self.space[self.names[loss]])
        self.lines.append(Line(f"{d} = np.ones_like({self.names[loss]})", str(self.space[d].shape)))
        values = {value.node: value for value in trace.values}
        while self.order:
            value = values[heapq.heappop(self.order)[1]]
            if not value.is_leaf:
                start = len(self.lines)
                self._pull(value)
                if len(self.lines) > start:
                    self.lines[start].op = value.op
        leaves = [leaf for leaf in trace.leaves if leaf.node in self.arrived]
        self.program.gradients.append({self.keys[leaf.node]: self._derivative(leaf.node) for leaf in leaves})

    def _pull(self, value: Value) -> None:
        """The lines that give the inputs of a value their parts."""
        assert value.op is not None
        rule, _ = rule_of(value.op, value.arrays)
        g = self._derivative(value.node)
        expr = self._rule(value, rule.vjp, f"{value.op.name}_vjp", [g, self.saved[value.node]])
        if not isinstance(expr, ast.Tuple):
            return self._unpack(value, expr)
        parts = list(expr.elts)
        raw = [
            None if _is_scatter(part) or x is None else self._eval(part) for part, x in zip(parts, value.inputs, strict=True)
        ]
        aliases = self._aliases(value, raw)
        for part, c, x in zip(parts, raw, value.inputs, strict=True):
            if x is not None and _is_scatter(part):
                self._scatter(value, x, part)
            elif x is not None and c is not None:
                self._add(value, x, _as_array(part, c), np.asarray(c), aliases)
        return None

    def _unpack(self, value: Value, expr: ast.expr) -> None:
        """The parts where a function gives all of them."""
        raw = self._eval(expr)
        aliases = self._aliases(value, raw)
        targets, notes = list[str](), list[str]()
        later: list[tuple[str, Value, Any]] = []
        for x, c in zip(value.inputs, raw, strict=True):
            if x is None or c is None:
                targets.append("_")
                continue
            notes.append(str(np.shape(c)))
            like = self.space[self.names[x.node]]
            if x.node not in self.arrived and isinstance(c, np.ndarray) and (c.shape, c.dtype) == (like.shape, like.dtype):
                targets.append(self._derivative(x.node))
                self._arrive(x.node, targets[-1], c, _alone(c, c, aliases))
            else:
                targets.append(f"part_{len(later) + 1}")
                later.append((targets[-1], x, c))
        if len(later) == 1:
            targets[targets.index("part_1")] = "part"
            later = [("part", *later[0][1:])]
        left = ", ".join(targets) if len(targets) > 1 else f"({targets[0]},)"
        self.lines.append(Line(f"{left} = {ast.unparse(expr)}", ", ".join(notes), value.path))
        for name, x, c in later:
            self.space[name] = c
            self._add(value, x, _as_array(_expr(name), c), np.asarray(c), aliases)

    def _aliases(self, value: Value, raw: Sequence[Any]) -> list[Any]:
        """What a cotangent may be the same array as: the list of `backpropagate`."""
        saved = self.space[self.saved[value.node]]
        arrays = [
            array if x is None else self.space[self.names[x.node]] for x, array in zip(value.inputs, value.arrays, strict=True)
        ]
        return [self.space[self._derivative(value.node)], *arrays, *raw, *(saved if isinstance(saved, tuple) else [saved])]

    def _arrive(self, node: Any, d: str, array: Array, alone: bool) -> None:
        self.arrived.add(node)
        heapq.heappush(self.order, (-node.number, node))
        self.space[d] = array
        if alone:
            self.owned.add(node)

    def _add(self, value: Value, x: Value, expr: ast.expr, c: Array, aliases: list[Any]) -> None:
        """Add a cotangent `c`, which `expr` gives, to the gradient of `x`."""
        like, d = self.space[self.names[x.node]], self._derivative(x.node)
        fitted = unbroadcast(c, like)
        alone = _alone(c, fitted, aliases)
        note = str(fitted.shape)
        if c.shape != like.shape:
            if not isinstance(expr, ast.Name):
                self.lines.append(Line(f"part = {ast.unparse(expr)}", str(c.shape), value.path))
                expr = _expr("part")
            expr, note = _unbroadcast(expr, c, like), f"{note}, un-broadcast"
        if c.dtype != like.dtype:
            expr = ast.Call(ast.Attribute(expr, "astype"), [_expr(f"np.{like.dtype.name}")], [])
        if x.node not in self.arrived:
            self._arrive(x.node, d, fitted, alone)
            code = f"{d} = {ast.unparse(expr)}"
        elif x.node in self.owned:
            self.space[d] += fitted
            code = f"{d} += {ast.unparse(expr)}"
        else:
            total = self.space[d] + fitted
            self.space[d] = np.asarray(total)
            self.owned.add(x.node)
            code = f"{d} = {ast.unparse(_as_array(ast.BinOp(_expr(d), ast.Add(), expr), total))}"
        self.lines.append(Line(code, note, value.path))

    def _scatter(self, value: Value, x: Value, part: Any) -> None:
        """Add a cotangent that is zero but at an index."""
        name, d = self.names[x.node], self._derivative(x.node)
        like = self.space[name]
        g, index, place = part.args
        at = self._eval(index)
        if x.node not in self.arrived:
            self._arrive(x.node, d, np.zeros(like.shape, like.dtype), True)
            self.lines.append(Line(f"{d} = np.zeros({name}.shape, {name}.dtype)", str(like.shape), value.path))
        elif x.node not in self.owned:
            self.space[d] = np.array(self.space[d])
            self.owned.add(x.node)
            self.lines.append(Line(f"{d} = np.array({d})", f"{like.shape}, a copy to add to", value.path))
        if isinstance(at, np.ndarray) and at.dtype.kind in "iu" and at.size and like.ndim > 1:
            code = f"{self.prelude.function(add_rows, 'add_rows')}({d}, {ast.unparse(index)}, {ast.unparse(g)})"
        elif _is_basic(at):
            code = f"{ast.unparse(ast.Subscript(_expr(d), place))} += {ast.unparse(g)}"
        else:
            code = f"np.add.at({d}, {ast.unparse(index)}, {ast.unparse(g)})"
        exec(code, self.space)
        self.lines.append(Line(code, str(self._eval(g).shape), value.path))


@cache
def _parameters(f: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(f).parameters.values())


def _expr(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _as_array(expr: ast.expr, result: Any) -> ast.expr:
    """NumPy gives a number where an array has no axes; the engine makes it an array."""
    return expr if isinstance(result, np.ndarray) else ast.Call(_expr("np.asarray"), [expr], [])


def _is_scatter(expr: ast.expr) -> bool:
    return isinstance(expr, ast.Call) and isinstance(expr.func, ast.Name) and expr.func.id == "scatter"


def _is_basic(index: Any) -> bool:
    """Whether an index names every entry at most once."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or isinstance(part, (slice, int, np.integer)) for part in parts)


def _alone(c: Any, fitted: Any, aliases: list[Any]) -> bool:
    """Whether nothing else refers to a cotangent, as `backpropagate` decides it."""
    return fitted is not c or (c.base is None and sum(c is a for a in aliases) == 1)


def _unbroadcast(expr: ast.expr, c: Array, like: Array) -> ast.expr:
    """`autograd.unbroadcast` written out."""
    extra = c.ndim - like.ndim
    stretched = tuple(i + extra for i, n in enumerate(like.shape) if n == 1 and c.shape[i + extra] != 1)
    total = f"np.sum({ast.unparse(expr)}, axis={(*range(extra), *stretched)}, keepdims=True)"
    return _expr(f"np.reshape({total}, {like.shape})" if extra else total)
