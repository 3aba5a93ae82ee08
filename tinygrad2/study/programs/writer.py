"""From a recorded step to the lines of its program.

The program is executed while it is written: each line is there because of what the lines before it gave, such as whether an
array is also some other gradient and may not be added to in place. Sums are made as `autograd.backpropagate` makes them.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tinygrad2.autograd import unbroadcast, walk
from tinygrad2.errors import GraphError
from tinygrad2.kernels.reference import MANY_ROWS
from tinygrad2.ops.fused import Linear
from tinygrad2.ops.indexing import add_at, add_rows
from tinygrad2.ops.op import HALF, Fused, Primitive, wide
from tinygrad2.ops.reductions import loses_digits, total
from tinygrad2.study.programs.inline import expression, plain_call, with_sizes
from tinygrad2.study.programs.literals import literal
from tinygrad2.study.programs.prelude import Prelude
from tinygrad2.study.programs.program import Line, Phase, Program
from tinygrad2.study.programs.stand_ins import forward_of, laid_out, linear_rule
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Trace, unique_names
from tinygrad2.types import Array

RESERVED = {*keyword.kwlist, *dir(builtins), "np", "math", "functools", "itertools", "Path", "SimpleNamespace"}
RESERVED |= {"inputs", "loss", "grads", "part", "_", "path", "gradients", "name", "key", "d"}
RESERVED |= {"file", "allow_pickle"}  # np.savez means something else by these


class Writer:
    """Writes the program, and keeps what its lines have computed so far in `space`."""

    def __init__(self, traces: list[Trace], by_spec: bool = False) -> None:
        self.by_spec = by_spec
        self.program = Program(taken=set(RESERVED), by_spec=by_spec)
        self.space: dict[str, Any] = {"np": np}
        self.prelude = Prelude(self.space, self.program.taken, by_spec)
        self.names: dict[Any, str] = {}  # by node: records apart have Values apart for one leaf
        self.residuals: dict[Any, str] = {}
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
        taken: set[str] = set()
        self.keys = {}
        for value in values:
            if value.is_leaf:
                self.keys[value.node] = value.full_name if value.full_name not in taken else shown[value]
                taken.add(self.keys[value.node])
                self._input(self.names[value.node], value.array)

    def _input(self, name: str, array: Array) -> None:
        self.program.inputs[name] = self.space[name] = array
        if not (self.by_spec or array.flags.c_contiguous or array.flags.f_contiguous):
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

    def _applied(self, value: Value, f: Callable[..., Any], name: str, before: Sequence[ast.expr] = ()) -> ast.expr:
        """A forward or a rule, applied to the inputs and settings of a value, behind what a rule gets before these."""
        assert value.op is not None
        pairs = [(x, x) for x in before]
        for i, (x, array) in enumerate(zip(value.inputs, value.arrays, strict=True)):
            own = f"{self.names[value.node]}_{value.op.arguments[i] if value.op.arity is not None else i}"
            expr = _expr(self.names[x.node]) if x is not None else None
            pairs.append((expr, expr) if expr is not None else self._literal(array, own, value.path))
        settings = {
            k: self._literal(value.settings.get(k, default), f"{self.names[value.node]}_{k}", value.path)
            for k, default in value.op.settings.items()
        }
        keywords = [ast.keyword(k, v[0]) for k, v in settings.items() if k in value.settings]
        if f.__module__.partition(".")[0] == "numpy":
            module = f.__module__.replace("numpy", "np", 1) if f.__module__ == "numpy.linalg" else "np"
            return plain_call(ast.Call(_expr(f"{module}.{f.__name__}"), [expr for expr, _ in pairs], keywords))
        if "needed" in [p.name for p in _parameters(f)]:
            needed = _expr(repr(tuple(x is not None for x in value.inputs)))
            settings["needed"], keywords = (needed, needed), [*keywords, ast.keyword("needed", needed)]
        bound, rest = dict(settings), list(pairs)
        for p in _parameters(f):
            if p.kind is p.POSITIONAL_OR_KEYWORD:
                bound[p.name] = rest.pop(0)
            elif p.kind is p.VAR_POSITIONAL:
                together = ast.Tuple([expr for expr, _ in rest])
                bound[p.name] = together, together
        found = expression(self.prelude, f, {k: v[0] for k, v in bound.items()}, {k: v[1] for k, v in bound.items()})
        if self._spelt_out(value) is None:
            return found or ast.Call(_expr(self.prelude.function(f, name)), [expr for expr, _ in pairs], keywords)
        if found is not None and _is_short(found := with_sizes(found, self.space)):
            return found
        absent = [name for name, (expr, _) in bound.items() if ast.unparse(expr) == "None"]
        name, unread = self.prelude.specialised(f, name, absent)
        read = [bound[p.name][0] for p in _parameters(f) if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in unread]
        return ast.Call(_expr(name), read, [k for k in keywords if k.arg not in unread])

    def _spelt_out(self, value: Value) -> type[Fused] | None:
        """A fused op that stands in the program as its specification, and its gradient as on paper."""
        op = value.op
        return op if self.by_spec and op is not None and issubclass(op, Fused) and op.rule is not None else None

    def _eval(self, expr: ast.expr) -> Any:
        return eval(ast.unparse(expr), self.space)

    # -- forward
    def _forward(self, value: Value) -> None:
        assert value.op is not None
        name, called = self.names[value.node], f"{value.op.name}_forward"
        forward = forward_of(value.op, value.arrays, value.settings.get("axis"), self.by_spec)
        if op := self._spelt_out(value):
            forward, called = op.spec, op.name
        expr = self._applied(value, forward, called)
        result = self._eval(expr)
        self.residuals[value.node] = name
        if issubclass(value.op, Fused) and forward is value.op.forward:
            self.residuals[value.node] = self._new(f"{name}_saved", value.path)
            self.space[name], self.space[self.residuals[value.node]] = result
            code = f"{name}, {self.residuals[value.node]} = {ast.unparse(expr)}"
        else:
            self.space[name] = np.asarray(result)
            code = f"{name} = {ast.unparse(_as_array(expr, result))}"
        self.lines.append(Line(code, str(self.space[name].shape), value.path))

    # -- backward
    def _backward(self, trace: Trace) -> None:
        name, self.arrived = self.names[trace.output.node], dict[Value, Array]()
        self.owned, self.reached = set[Value](), set[Any]()
        d = self._derivative(trace.output.node)
        self.lines.append(Line(f"{d} = np.ones_like({name})", str(self.space[name].shape)))
        walk([(trace.output, _Part(np.ones_like(self.space[name])))], self._visit, self._add, self.arrived)
        self.program.gradients.append(
            {self.keys[x.node]: self._derivative(x.node) for x in trace.leaves if x.node in self.reached}
        )

    def _visit(self, value: Value, g: Array) -> Iterator[tuple[Value, _Part]]:
        """The parts that a value gives to its inputs, after the lines that compute them."""
        self.reached.add(value.node)
        if value.op is None:
            return
        start = len(self.lines)
        before = [_expr(self._derivative(value.node)), _expr(self.residuals[value.node])]
        residuals = self.space[self.residuals[value.node]]
        kept = [g, *map(self._input_of, value.inputs, value.arrays)]
        kept += residuals if isinstance(residuals, tuple) else [residuals]
        rules = value.op.sources if issubclass(value.op, Primitive) else None
        if rules is None:
            yield from self._together(value, before, kept)
        else:
            for i, x in enumerate(value.inputs):
                rule = rules[i if value.op.arity is not None else 0]
                if x is None or rule is None:
                    continue
                first = before if value.op.arity is not None else [*before, ast.Constant(i)]
                expr = self._applied(value, rule, f"{value.op.name}_rule", first)
                yield x, _Part(None if _is_scatter(expr) else self._eval(expr), expr, value, kept)
        if len(self.lines) > start and not self.by_spec:
            self.lines[start].op = value.op

    def _together(self, value: Value, before: list[ast.expr], kept: list[Any]) -> Iterator[tuple[Value, _Part]]:
        """The parts that one function gives."""
        assert value.op is not None
        vjp = linear_rule if value.op is Linear else inspect.unwrap(value.op.vjp)
        if op := self._spelt_out(value):
            vjp = op.rule or vjp
        expr = self._applied(value, vjp, f"{value.op.name}_vjp", before)
        if op and op.arity == 1:  # on paper, the gradient of a single input is no tuple
            expr = ast.Tuple([expr])
        pairs = list(zip(value.inputs, self._eval(expr), strict=True))
        others = [[*kept, *(c for _, c in pairs[:i] + pairs[i + 1 :])] for i in range(len(pairs))]
        if isinstance(expr, ast.Tuple):
            for (x, c), part, kept in zip(pairs, expr.elts, others, strict=True):
                if x is not None and c is not None:
                    yield x, _Part(c, part, value, kept)
            return
        wanted = [(x, c, kept) for (x, c), kept in zip(pairs, others, strict=True) if x is not None and c is not None]
        direct = [x for x, c, _ in wanted if x not in self.arrived and _is_like(c, self.space[self.names[x.node]])]
        direct = [x for x in direct if sum(y is x for y, _, _ in wanted) == 1]
        rest = iter(["part"] if len(wanted) - len(direct) == 1 else [f"part_{i}" for i in range(1, 1 + len(wanted))])
        names = [self._derivative(x.node) if x in direct else next(rest) for x, _, _ in wanted]
        targets = iter(names)
        left = ", ".join("_" if x is None or c is None else next(targets) for x, c in pairs)
        left = left if len(pairs) > 1 else f"({left},)"
        notes = ", ".join(str(np.shape(c)) for _, c, _ in wanted)
        self.lines.append(Line(f"{left} = {ast.unparse(expr)}", notes, value.path))
        for name, (x, c, kept) in zip(names, wanted, strict=True):
            self.space[name] = c
            yield x, _Part(c, None if x in direct else _expr(name), value, kept)

    def _input_of(self, x: Value | None, array: Any) -> Any:
        return array if x is None else self.space[self.names[x.node]]

    def _add(self, x: Value, before: Array | None, part: _Part) -> Array:
        """The line that adds a part to the gradient of a value, and the sum."""
        d, name = self._derivative(x.node), self.names[x.node]
        if part.user is None or part.expr is None:  # there is a line that sets it
            assert part.array is not None
            if part.user is not None and _is_new(part.array, part.kept):
                self.owned.add(x)
            self.space[d] = part.array
            return part.array
        if part.array is None:
            return self._scatter(x, before, part)
        like, path = self.space[name], part.user.path
        c, expr = np.asarray(part.array), _as_array(part.expr, part.array)
        fitted = unbroadcast(c, like)
        note = str(fitted.shape)
        if c.shape != like.shape:
            if not isinstance(expr, ast.Name):
                self.lines.append(Line(f"part = {ast.unparse(expr)}", str(c.shape), path))
                expr = _expr("part")
            expr, note = self._unbroadcast(expr, c, like), f"{note}, un-broadcast"
        if c.dtype != like.dtype or (c.dtype == HALF and c.shape != like.shape):  # which is summed in float32
            expr = ast.Call(ast.Attribute(expr, "astype"), [_expr(f"np.{like.dtype.name}")], [])
        if before is None:
            found, code = fitted, f"{d} = {ast.unparse(expr)}"
            if fitted is not part.array or _is_new(part.array, part.kept):
                self.owned.add(x)
        elif x in self.owned:
            found, code = np.add(before, fitted, out=before), f"{d} += {ast.unparse(expr)}"
        else:
            found = before + fitted
            code = f"{d} = {ast.unparse(_as_array(ast.BinOp(_expr(d), ast.Add(), expr), found))}"
            found = np.asarray(found)
            self.owned.add(x)
        self.space[d] = found
        self.lines.append(Line(code, note, path))
        return found

    def _unbroadcast(self, expr: ast.expr, c: Array, like: Array) -> ast.expr:
        """`autograd.unbroadcast` written out."""
        extra = c.ndim - like.ndim
        axes = (*range(extra), *(i + extra for i, n in enumerate(like.shape) if n == 1 and c.shape[i + extra] != 1))
        added, how = "np.sum", ", dtype=np.float32" if c.dtype == HALF else ""
        if loses_digits(wide(c), axes) and not self.by_spec:
            expr = ast.Call(ast.Attribute(expr, "astype"), [_expr("np.float32")], []) if how else expr
            added, how = self.prelude.function(total, "total"), ""
        if like.ndim and len(axes) == extra:
            return _expr(f"{added}({ast.unparse(expr)}, axis={axes if extra > 1 else 0}{how})")
        text = f"{added}({ast.unparse(expr)}, axis={axes}, keepdims=True{how})"
        return _expr(f"np.reshape({text}, {like.shape})" if extra else text)

    def _scatter(self, x: Value, before: Array | None, part: _Part) -> Array:
        """Add a part that is zero but at an index."""
        assert isinstance(part.expr, ast.Call)
        assert part.user is not None
        name, d, path = self.names[x.node], self._derivative(x.node), part.user.path
        like = self.space[name]
        g, index, place = part.expr.args
        at = self._eval(index)
        if before is None:
            self.space[d] = np.zeros(like.shape, like.dtype)
            self.lines.append(Line(f"{d} = np.zeros({name}.shape, {name}.dtype)", str(like.shape), path))
        elif x not in self.owned:
            self.space[d] = np.array(before)
            self.lines.append(Line(f"{d} = np.array({d})", f"{like.shape}, a copy to add to", path))
        self.owned.add(x)
        simple = self.by_spec and like.dtype != HALF
        if isinstance(at, np.ndarray) and at.dtype.kind in "iu" and at.size and like.ndim > 1 and not simple:
            code = f"{self.prelude.function(add_rows, 'add_rows')}({d}, {ast.unparse(index)}, {ast.unparse(g)})"
        elif _is_basic(at):
            code = f"{ast.unparse(ast.Subscript(_expr(d), place))} += {ast.unparse(g)}"
        else:
            plain = simple or like.dtype == np.float64 or (like.dtype == np.float32 and np.size(self._eval(g)) < MANY_ROWS)
            function = "np.add.at" if plain else self.prelude.function(add_at, "add_at")
            code = f"{function}({d}, {ast.unparse(index)}, {ast.unparse(g)})"
        exec(code, self.space)
        self.lines.append(Line(code, str(self._eval(g).shape), path))
        found: Array = self.space[d]
        return found


@dataclass
class _Part:
    """What one use of a value adds to its gradient.

    array   its entries; None where it is zero but at an index
    expr    how it is computed; None where a line has set the gradient to it
    user    the value computed from it
    kept    arrays that it may be the same as
    """

    array: Any
    expr: ast.expr | None = None
    user: Value | None = None
    kept: Sequence[Any] = ()


@cache
def _parameters(f: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(f).parameters.values())


def _expr(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _is_short(expr: ast.expr) -> bool:
    """Whether no part of it names a value more than twice, so that it reads well with long names."""
    parts = expr.elts if isinstance(expr, ast.Tuple) else [expr]
    names = [Counter(n.id for n in ast.walk(part) if isinstance(n, ast.Name)) for part in parts]
    return all(count < 3 for counts in names for count in counts.values())


def _as_array(expr: ast.expr, result: Any) -> ast.expr:
    """NumPy gives a number where an array has no axes; the engine makes it an array."""
    return expr if isinstance(result, np.ndarray) else ast.Call(_expr("np.asarray"), [expr], [])


def _is_scatter(expr: ast.expr) -> bool:
    return isinstance(expr, ast.Call) and isinstance(expr.func, ast.Name) and expr.func.id == "scatter"


def _is_basic(index: Any) -> bool:
    """Whether an index names every entry at most once."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or isinstance(part, (slice, int, np.integer)) for part in parts)


def _is_like(c: Any, x: Array) -> bool:
    return isinstance(c, np.ndarray) and (c.shape, c.dtype) == (x.shape, x.dtype)


def _is_new(c: Any, kept: Sequence[Any]) -> bool:
    """Whether nothing else refers to a cotangent: it is no view, and nothing that is kept is the same or a view of it."""
    return isinstance(c, np.ndarray) and c.base is None and not any(x is c or getattr(x, "base", None) is c for x in kept)
