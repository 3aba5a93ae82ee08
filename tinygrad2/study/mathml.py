"""The formula of a rule, as it would be written by hand: NumPy text in, MathML out.

    product of numbers with anything   a · b           elementwise product   a ⊙ b (looser than the next)
    matrix product                     a b             quotient              a fraction, of each entry
    a comparison among numbers         [a > b], 1 where it holds and 0 elsewhere (Iverson's bracket)
    keyword arguments                  beneath the name of the function; `keepdims=True` is not shown

Only elements and attributes of MathML Core are used (https://www.w3.org/TR/mathml-core/), which browsers draw by themselves.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from tinygrad2.ops.source import FACTS

LOWEST, OR, AND, NOT, COMPARE, ADD, TIMES, MATMUL, MINUS, PREFIX, POWER, ATOM = range(12)
"""How tightly what is written holds together. A fraction, a root and a sum can be factors, but not the base of a power."""

GREEK = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "epsilon": "ε", "eta": "η", "theta": "θ"},
    **{"kappa": "κ", "lam": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ"},
    **{"psi": "ψ", "omega": "ω", "inf": "∞"},
}
MODULES = ("np", "numpy", "math")
BIG = {"sum": "∑", "prod": "∏"}
SIGNS = {ast.Add: ("+", ADD), ast.Sub: ("−", ADD), ast.Mult: ("⊙", TIMES), ast.Mod: ("mod", TIMES), ast.MatMult: ("", MATMUL)}
COMPARISONS = {
    **{ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "&lt;", ast.LtE: "≤", ast.Gt: "&gt;", ast.GtE: "≥"},
    **{ast.In: "∈", ast.NotIn: "∉"},
}
JOINS: dict[type, tuple[str, int]] = {
    **{ast.And: ("and", AND), ast.BitAnd: ("and", AND)},
    **{ast.Or: ("or", OR), ast.BitOr: ("or", OR)},
}
LEFT = 'style="text-align: left"'
BRACE = 'style="border-left: 0.09em solid; border-radius: 0.5em"'
"""Stands for the large brace before cases: that one is as small as a letter wherever no mathematical font is installed."""


def mathml(formula: str) -> str:
    """The `formula` of an op in presentation MathML, one `<math display="block">` a line for each of its statements.

    What has no notation here is shown as the code it is; so is all of a text that is not Python.
    """
    try:
        statements = ast.parse(formula.strip()).body
    except (SyntaxError, ValueError):
        return _math(_code(formula))
    writer = _Writer()
    return "\n".join(_math(writer.statement(statement)) for statement in statements)


class _Piece(NamedTuple):
    """An element, and what has to be known of it to write something beside it.

    tail    an operator at least as tight as this would, written after it, be read as part of it
    minus   whether it begins with a sign
    scalar  whether it is made of numbers only
    last    whether the last factor of it is
    """

    xml: str
    level: int = ATOM
    tail: int = ATOM
    minus: bool = False
    scalar: bool = False
    last: bool = False

    def at(self, level: int) -> str:
        """The element, in parentheses if it holds together less tightly than `level`."""
        return self.xml if self.level >= level else _fenced(self.xml)

    def before(self, level: int) -> str:
        """The same, as what an operator of that level follows."""
        return self.at(level) if level < self.tail else _fenced(self.xml)

    def after(self, level: int) -> str:
        """The same, as what follows an operator: a sign of its own is set apart."""
        return _fenced(self.xml) if self.minus else self.at(level)


class _Writer(ast.NodeVisitor):
    """Writes the statements of one formula, in order; knows which names were given to plain numbers."""

    def __init__(self) -> None:
        self._scalars: set[str] = set()

    def statement(self, statement: ast.stmt) -> str:
        """An assignment or a cotangent."""
        if isinstance(statement, ast.Expr):
            return self.visit(statement.value).xml
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return _code(ast.unparse(statement))
        (target,), value = statement.targets, statement.value
        if isinstance(target, ast.Tuple):
            left = self._list(target.elts)
        elif isinstance(value, ast.Lambda):
            left, value = _row(self.visit(target).xml, _fenced(self._parameters(value))), value.body
        else:
            left = self.visit(target).xml
        shown = self.visit(value)
        if shown.scalar and isinstance(target, ast.Name):
            self._scalars.add(target.id)
        return _row(left, _mo("="), shown.xml)

    def generic_visit(self, node: ast.AST) -> _Piece:
        """What has no notation here."""
        return _Piece(_code(ast.unparse(node)), LOWEST, LOWEST)

    def visit_Name(self, node: ast.Name) -> _Piece:
        return _Piece(_name(node.id), scalar=node.id in self._scalars, last=node.id in self._scalars)

    def visit_Constant(self, node: ast.Constant) -> _Piece:
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return _Piece(f"<mn>{node.value!r}</mn>", scalar=True, last=True)
        return _Piece(_name(repr(node.value)) if node.value in (None, True, False) else _code(repr(node.value)))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> _Piece:
        if isinstance(node.op, ast.Not | ast.Invert):
            return _Piece(_iverson(self._condition(node).xml))
        if not isinstance(node.op, ast.USub):
            return self.generic_visit(node)
        x = self.visit(node.operand)
        shown = x.at(PREFIX)
        return _Piece(_row(_mo("−"), shown), MINUS, x.tail if shown is x.xml else ATOM, True, x.scalar, x.scalar)

    def visit_BinOp(self, node: ast.BinOp) -> _Piece:
        if type(node.op) in JOINS:  # of masks
            return _Piece(_iverson(self._condition(node).xml))
        a, b = self.visit(node.left), self.visit(node.right)
        both = a.scalar and b.scalar
        if isinstance(node.op, ast.Pow):
            return _Piece(_tag("msup", a.at(ATOM), b.xml), POWER, scalar=both, last=both)
        if isinstance(node.op, ast.Div):
            return _Piece(_tag("mfrac", a.xml, b.xml), PREFIX, scalar=both, last=both)
        if type(node.op) not in SIGNS:
            return self.generic_visit(node)
        sign, level = SIGNS[type(node.op)]
        sign = "·" if sign == "⊙" and (a.last or b.scalar) else sign
        middle = _mo(sign) if sign else '<mo lspace="0.15em" rspace="0.15em">&#x2062;</mo>'
        left, right = a.before(level), b.after(level + 1)
        tail = b.tail if right is b.xml else ATOM
        last = b.scalar if level == TIMES else both
        return _Piece(_row(left, middle, right), level, tail, a.minus and left is a.xml, both, last)

    def visit_Compare(self, node: ast.Compare) -> _Piece:
        return _Piece(_iverson(self._condition(node).xml))

    def visit_BoolOp(self, node: ast.BoolOp) -> _Piece:
        return self._joined(node.op, [self.visit(x) for x in node.values])

    def visit_IfExp(self, node: ast.IfExp) -> _Piece:
        return self._cases(node.test, node.body, node.orelse)

    def visit_Lambda(self, node: ast.Lambda) -> _Piece:
        return _Piece(_row(self._parameters(node), _mo("↦"), self.visit(node.body).xml), LOWEST, LOWEST)

    def visit_Tuple(self, node: ast.Tuple) -> _Piece:
        return _Piece(_fenced(self._list(node.elts)))

    def visit_List(self, node: ast.List) -> _Piece:
        return _Piece(_fenced(self._list(node.elts), "[]"))

    def visit_Starred(self, node: ast.Starred) -> _Piece:
        return _Piece(_row('<mo form="prefix">*</mo>', self.visit(node.value).at(ATOM)))

    def visit_ListComp(self, node: ast.ListComp) -> _Piece:
        return self._comprehension(node, "[]")

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> _Piece:
        return self._comprehension(node, "()")

    def visit_Subscript(self, node: ast.Subscript) -> _Piece:
        index = self._list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else self.visit(node.slice).xml
        base = self.visit(node.value)
        return _Piece(_tag("msub", _fenced(base.xml) if isinstance(node.value, ast.Subscript) else base.at(ATOM), index))

    def visit_Slice(self, node: ast.Slice) -> _Piece:
        parts = [self.visit(x).xml if x else "" for x in (node.lower, node.upper)]
        step = [_mo(":"), self.visit(node.step).xml] if node.step else []
        return _Piece(_row(parts[0], _mo(":"), parts[1], *step))

    def visit_Attribute(self, node: ast.Attribute) -> _Piece:
        name = _name_in_module(node)
        if name:
            number = name in ("pi", "e", "inf", "nan")
            return _Piece(_name(name), scalar=number, last=number)
        if node.attr == "T":
            return self._transposed(node.value)
        if node.attr in FACTS:  # functions of an array in NumPy: `x.shape` is np.shape(x)
            return _Piece(_row(_name(node.attr), _fenced(self.visit(node.value).xml)))
        return _Piece(_row(self.visit(node.value).at(ATOM), '<mo lspace="0" rspace="0">.</mo>', _name(node.attr)))

    def visit_Call(self, node: ast.Call) -> _Piece:
        f, args = node.func, node.args
        if not isinstance(f, ast.Attribute):
            return self._called(self.visit(f).at(ATOM), args, node.keywords)
        if f.attr == "spec":
            return self._called(self.visit(f.value).at(ATOM), args, node.keywords)
        name = _name_in_module(f)
        if not name:
            args = [f.value, *args]
        swapped = [ast.unparse(x) for x in args[1:]] in (["-1", "-2"], ["-2", "-1"])
        if (f.attr == "swapaxes" and swapped) or (f.attr == "transpose" and len(args) == 1 and not node.keywords):
            return self._transposed(args[0])
        if f.attr in BIG and len(args) == 1:
            x = self.visit(args[0])
            sign = self._over_keywords(_mo(BIG[f.attr]), node.keywords)
            body = x.after(TIMES)
            return _Piece(_row(sign, body), PREFIX, min(TIMES, x.tail) if body is x.xml else TIMES)
        if f.attr == "where" and len(args) == 3:
            return self._cases(*args)
        if f.attr in ("sqrt", "abs", "absolute") and len(args) == 1:
            x = self.visit(args[0])
            xml = _tag("msqrt", x.xml) if f.attr == "sqrt" else _fenced(x.xml, "||")
            return _Piece(xml, PREFIX if f.attr == "sqrt" else ATOM, scalar=x.scalar, last=x.scalar)
        return self._called(_name(name or f.attr), args, node.keywords)

    def _called(self, name: str, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> _Piece:
        alone = len(args) == 1 and isinstance(args[0], ast.GeneratorExp)
        inside = self.visit(args[0]).xml if alone else _fenced(self._list(args))
        return _Piece(_row(self._over_keywords(name, keywords), "<mo>&#x2061;</mo>", inside))

    def _over_keywords(self, name: str, keywords: Sequence[ast.keyword]) -> str:
        shown = []
        for keyword in keywords:
            text = ast.unparse(keyword.value)
            if text == keyword.arg:
                shown.append(_name(text))
            elif (keyword.arg, text) != ("keepdims", "True"):
                shown.append(_row(_name(keyword.arg or "**"), _mo("="), self.visit(keyword.value).xml))
        return _tag("munder", name, _listed(shown)) if shown else name

    def _transposed(self, node: ast.expr) -> _Piece:
        return _Piece(_tag("msup", self.visit(node).at(ATOM), '<mi mathvariant="normal">T</mi>'), POWER)

    def _cases(self, test: ast.expr, then: ast.expr, otherwise: ast.expr) -> _Piece:
        rows = [
            (self.visit(then).xml, _row("<mtext>if&#xA0;</mtext>", self._condition(test).xml)),
            (self.visit(otherwise).xml, "<mtext>otherwise</mtext>"),
        ]
        table = "".join(f"<mtr><mtd {LEFT}>{a}</mtd><mtd {LEFT}>{b}</mtd></mtr>" for a, b in rows)
        return _Piece(f"<mtable {BRACE}>{table}</mtable>", PREFIX, LOWEST)

    def _condition(self, node: ast.expr) -> _Piece:
        """What is true or false, as a sentence and not as a number."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            return _Piece(_row("<mtext>not&#xA0;</mtext>", self._condition(node.operand).at(COMPARE)), NOT)
        if isinstance(node, ast.BoolOp):
            return self._joined(node.op, [self._condition(x) for x in node.values])
        if isinstance(node, ast.BinOp) and type(node.op) in JOINS:
            return self._joined(node.op, [self._condition(x) for x in (node.left, node.right)])
        if not isinstance(node, ast.Compare):
            return self.visit(node)
        parts = [self.visit(node.left).before(ADD)]
        for op, x in zip(node.ops, node.comparators, strict=True):
            words = {ast.Is: "is", ast.IsNot: "is not"}
            parts += [_word(words[type(op)]) if type(op) in words else _mo(COMPARISONS[type(op)]), self.visit(x).at(ADD)]
        return _Piece(_row(*parts), COMPARE)

    def _joined(self, op: ast.AST, pieces: list[_Piece]) -> _Piece:
        word, level = JOINS[type(op)]
        parts = [x for piece in pieces for x in (_word(word), piece.before(level + 1))]
        return _Piece(_row(*parts[1:]), level)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, fence: str) -> _Piece:
        parts = [self.visit(node.elt).xml]
        for loop in node.generators:
            parts += [_word("for"), self.visit(loop.target).xml, _mo("∈"), self.visit(loop.iter).xml]
            for test in loop.ifs:
                parts += [_word("if"), self._condition(test).xml]
        return _Piece(_fenced(_row(*parts), fence))

    def _parameters(self, node: ast.Lambda) -> str:
        return _listed([_name(x.arg) for x in node.args.args])

    def _list(self, nodes: Sequence[ast.expr]) -> str:
        return _listed([self.visit(x).xml for x in nodes])


def _name_in_module(node: ast.Attribute) -> str:
    """Of np.linalg.norm: linalg.norm. Nothing for an attribute of anything else."""
    module, _, name = ast.unparse(node).partition(".")
    return name if module in MODULES and name.replace(".", "_").isidentifier() else ""


def _tag(name: str, *children: str) -> str:
    return f"<{name}>{''.join(children)}</{name}>"


def _row(*children: str) -> str:
    return _tag("mrow", *children)


def _math(content: str) -> str:
    return f'<math display="block">{content}</math>'


def _mo(sign: str) -> str:
    return f"<mo>{sign}</mo>"


def _word(word: str) -> str:
    return f"<mtext>&#xA0;{word}&#xA0;</mtext>"


def _code(text: str) -> str:
    return f"<mtext>{escape(text)}</mtext>"


def _name(name: str) -> str:
    """One letter is drawn in italics, more upright, as MathML has it."""
    return f"<mi>{escape(GREEK.get(name, name))}</mi>"


def _listed(items: Sequence[str]) -> str:
    return _row(*[x for item in items for x in (_mo(","), item)][1:])


def _fenced(content: str, fence: str = "()") -> str:
    first, last = (f'<mo form="{form}" stretchy="true">{x}</mo>' for form, x in zip(("prefix", "postfix"), fence, strict=True))
    return _row(first, content, last)


def _iverson(content: str) -> str:
    return _fenced(content, "[]")
