"""Formulas as MathML: read back as a person reads them, they are the same formula, and no parenthesis could go."""

import ast
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from op_samples import OPS

from tinygrad2.study.mathml import mathml

CORE = {"math", "mrow", "mi", "mn", "mo", "mtext", "mfrac", "msqrt", "msup", "msub", "munder", "mtable", "mtr", "mtd"}
ATTRIBUTES = {"display", "mathvariant", "form", "stretchy", "lspace", "rspace", "style"}
LETTERS = {"eps": "ε", "pi": "π", "inf": "∞", "sum": "∑", "prod": "∏"}
TIMES = "\u2062"


def words(formula):
    """Every name and number that the code of a formula has, but those that the notation stands for."""
    found = Counter()
    tree = ast.parse(formula)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="swapaxes"), args=[_, ast.UnaryOp() as i, ast.UnaryOp() as j]):
                found["T"] += 1
                found.subtract(["swapaxes", ast.unparse(i)[1:], ast.unparse(j)[1:]])
            case ast.Call(func=ast.Attribute(attr="where" | "sqrt" | "abs" | "spec" as notation)):
                found[notation] -= 1
            case ast.Attribute(value=ast.Attribute(value=ast.Name("np"), attr=module), attr=name):  # np.linalg.inv
                found.update({f"{module}.{name}": 1})
                found.subtract([module, name])
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found[LETTERS.get(name, name)] += 1
            case ast.keyword(arg="keepdims", value=ast.Constant(value=True)):
                found["True"] -= 1
            case ast.keyword(arg=name, value=value):
                found[name] += ast.unparse(value) != name
            case ast.Constant(value=value):
                found[repr(value)] += 1
    return {name: count for name, count in found.items() if count and name not in ("np", "math")}


CODES = [formula.code for op in OPS for i in range(op.arity or 2) if (formula := op.formula(i))]


@pytest.mark.parametrize("formula", CODES)
def test_every_formula_of_the_op_table_is_written_whole(formula):
    shown = mathml(formula).splitlines()
    assert len(shown) == len(ast.parse(formula).body)
    elements = [element for line in shown for element in ET.fromstring(line).iter()]
    assert {x.tag for x in elements} <= CORE
    assert {name for x in elements for name in x.attrib} <= ATTRIBUTES
    signs = [x.text for x in elements if x.tag in ("mi", "mn") or x.text in ("∑", "∏")]
    assert Counter(signs) == Counter(words(formula))
    texts = {x.text.strip("\xa0") for x in elements if x.tag == "mtext"}
    assert texts <= {"if", "otherwise", "for", "is", "or", "and"}  # nothing is shown as code


class Reader:
    """MathML read as a person reads it, left to right, into Python text with every parenthesis."""

    def __init__(self, *elements):
        self.tokens = [token for element in elements for token in flat(element)]

    def all(self, condition=False):
        text = self.condition() if condition else self.expression()
        assert not self.tokens, f"{self.tokens} after {text}"
        return text

    def next(self, *texts):
        if self.tokens and self.tokens[0].tag == "mo" and self.tokens[0].text in texts:
            return self.tokens.pop(0).text
        return None

    def expression(self):
        left = self.product(signed=True)
        while sign := self.next("+", "−"):
            left = f"({left} {sign.replace('−', '-')} {self.product()})"
        return left

    def product(self, signed=False):
        left = self.matrices(signed)
        while self.next("⊙", "·"):
            left = f"({left} * {self.matrices()})"
        return left

    def matrices(self, signed=False):
        left = f"(-{self.factor()})" if signed and self.next("−") else self.factor()
        while self.next(TIMES):
            left = f"({left} @ {self.factor()})"
        return left

    def factor(self):
        match self.tokens[0].tag:
            case "mfrac":
                above, below = self.tokens.pop(0)
                return f"({Reader(above).all()} / {Reader(below).all()})"
            case "msqrt":
                return f"np.sqrt({Reader(*self.tokens.pop(0)).all()})"
            case "mtable":  # whatever follows would look like a part of the cases
                cases, end = self.tokens.pop(0), bool(self.tokens) and self.tokens[0].text not in (")", "]")
                (a, condition), (b, _) = cases
                assert not end
                return f"np.where({Reader(*condition).all(condition=True)}, {Reader(*a).all()}, {Reader(*b).all()})"
            case "munder" if self.tokens[0][0].text == "∑":
                axis = Reader(self.tokens.pop(0)[1]).all(condition=True)
                return f"np.sum({self.product()}, {axis})"
        return self.atom()

    def condition(self):
        if self.tokens[0].tag == "mtext":
            self.tokens.pop(0)
        left = self.expression()
        sign = self.next("=", ">")
        return f"{left} {sign} {self.expression()}"

    def atom(self):
        token = self.tokens.pop(0)
        if token.tag in ("msup", "msub"):
            base = Reader(token[0])
            assert base.tokens[0].tag != token.tag, "two exponents or two indices beside each other"
            inside, above = base.atom(), token[1]
            assert not base.tokens, f"{token.tag} of only the last of what is before it"
            if token.tag == "msub":
                return f"{inside}[{Reader(above).all()}]"
            return f"({inside}).T" if above.text == "T" else f"({inside} ** {Reader(above).all()})"
        if token.tag == "mo" and token.text in "([":
            inside = self.condition() if token.text == "[" else self.expression()
            assert self.next(")" if token.text == "(" else "]")
            return f"({inside})"
        assert token.tag in ("mi", "mn"), token.text
        if self.next("\u2061"):
            return f"np.{token.text}{self.atom()}"
        return token.text


def flat(element):
    return [token for child in element for token in flat(child)] if element.tag in ("mrow", "math") else [element]


def read(xml):
    return Reader(xml).all()


def tree(text):
    return ast.dump(ast.parse(text, mode="eval"))


SLOTS = [
    *("{} - c", "c - {}", "{} * c", "c * {}", "{} @ c", "c @ {}", "{} / c", "c / {}", "{} ** c", "c ** {}", "-{}", "{}.T"),
    *("np.sqrt({})", "np.tanh({})", "np.sum({}, axis=0)", "({} > c)", "np.where(c > 2, 0.5, {})"),
]
"""Every way to be a part of something, {} being the part."""


def nested(depth):
    """All formulas of that many operations, one within the other."""
    return [slot.format(f"({x})") for slot in SLOTS for x in nested(depth - 1)] if depth else ["b"]


@pytest.mark.parametrize("slot", SLOTS)
def test_what_is_written_reads_as_what_was_meant_and_without_a_parenthesis_it_does_not(slot):
    for x in (*nested(0), *nested(1), *nested(2)):
        check_reading(slot.format(f"({x})"))


@pytest.mark.parametrize("formula", ["a * (b - np.sum(c, axis=0)) * b", "a + (-np.sum(b, axis=0)) * c"])
def test_parentheses_that_are_there_are_enough(formula):
    check_reading(formula)


def check_reading(formula):
    meant = tree(formula)
    xml = ET.fromstring(mathml(formula))
    assert tree(read(xml).replace("axis = 0", "axis=0")) == meant
    parents = {child: parent for parent in xml.iter() for child in parent}
    for row in list(xml.iter("mrow")):
        before = list(parents[row])[: list(parents[row]).index(row)]
        if len(row) == 3 and row[0].text == "(" and not (before and before[-1].text == "\u2061"):
            first, inside, last = row
            row[:] = [inside]
            try:
                same = tree(read(xml).replace("axis = 0", "axis=0")) == meant
            except AssertionError:
                same = False
            row[:] = [first, inside, last]
            assert not same, f"the parentheses around {ET.tostring(inside)} are not needed"


@pytest.mark.parametrize(
    ("formula", "content"),
    [
        ("g * b", "<mrow><mi>g</mi><mo>⊙</mo><mi>b</mi></mrow>"),
        ("g / (2 * out)", "<mfrac><mi>g</mi><mrow><mn>2</mn><mo>·</mo><mi>out</mi></mrow></mfrac>"),
        ("x.T", '<msup><mi>x</mi><mi mathvariant="normal">T</mi></msup>'),
        ("a < eps", '<mrow><mo form="prefix" stretchy="true">[</mo><mrow><mi>a</mi><mo>&lt;</mo><mi>ε</mi></mrow>'
                    '<mo form="postfix" stretchy="true">]</mo></mrow>'),
    ],
)  # fmt: skip
def test_written_out(formula, content):
    assert mathml(formula) == f'<math display="block">{content}</math>'


def flat_text(formula):
    return ["".join(ET.fromstring(line).itertext()).replace("\xa0", " ") for line in mathml(formula).splitlines()]


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("c = np.sqrt(2 / np.pi); c * x; d * x", ["c=2π", "c·x", "d⊙x"]),  # c is a number, for d nobody knows
        ("a * 2 * b; a * (2 * b); a / 2 * b", ["a·2·b", "a⊙(2·b)", "a2⊙b"]),
        ("q, k = f(x); mean = lambda a: a", ["q,k=f\u2061(x)", "mean(a)=a"]),
        ("(f(i) for i in arrays)", ["(f\u2061(i) for i∈arrays)"]),
        ("x[i][j]; x[1:, ::2]", ["(xi)j", "x1:,::2"]),
        ("p if keep is not None else 0", ["pif keep is not None0otherwise"]),
        ("a if not (b or c < d) and e else f", ["aif not (b or c<d) and efotherwise"]),
        ("np.where((a < b) & ~((c == d) | (e > f)), g, 0)", ["gif a<b and not (c=d or e>f)0otherwise"]),
        ("g * ((a < b) & (c == d)); ~(a < b)", ["g⊙[a<b and c=d]", "[not a<b]"]),
        ("x.shape[-1]; x.sum(axis=(0, 1)); np.linalg.norm(x)", ["shape(x)−1", "∑axis=(0,1)x", "linalg.norm\u2061(x)"]),
        ("np.mean(x, axis=axis, keepdims=keepdims)", ["meanaxis,keepdims\u2061(x)"]),
        ("np.swapaxes(a, 0, 1); np.transpose(a, axes)", ["swapaxes\u2061(a,0,1)", "transpose\u2061(a,axes)"]),
    ],
)
def test_notation(formula, text):
    assert flat_text(formula) == text


def test_what_has_no_notation_is_shown_as_code():
    assert mathml("a <- '&'") == '<math display="block"><mrow><mo form="prefix" stretchy="true">[</mo>' + (
        "<mrow><mi>a</mi><mo>&lt;</mo><mrow><mo>−</mo><mtext>&#x27;&amp;&#x27;</mtext></mrow></mrow>"
        '<mo form="postfix" stretchy="true">]</mo></mrow></math>'
    )
    assert mathml("a <> b & c") == '<math display="block"><mtext>a &lt;&gt; b &amp; c</mtext></math>'
    assert flat_text("(a << b) * c") == ["(a << b)⊙c"]
    assert flat_text("assert x") == ["assert x"]
    assert mathml("") == ""
