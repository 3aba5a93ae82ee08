"""What a program says has a Chinese text with the same fields, and no Chinese text is left over (see tinygrad2/language.py).

What is said are the strings in the sources, each as the key of a catalogue. The pieces of an f-string, or of a template of
JavaScript, are `{0}`, `{1}` and so on. Docstrings, errors, and the help of a command are no part of it.

    python tests/test_language.py    # for each catalogue, what it lacks, as JSON to be filled in
"""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tinygrad2.context import within
from tinygrad2.errors import TinygradError
from tinygrad2.gradcheck import gradcheck
from tinygrad2.language import LANGUAGE, Translator, chosen, translation, width_of

ROOT = Path(__file__).parents[1]

SOURCES = {
    "gpt2.run.health": [
        *("gpt2/run/health/*.py", "gpt2/commands/health.py"),
        *(
            "gpt2/training/spikes.py",
            "gpt2/training/replay.py",
            "gpt2/training/step.py",
        ),  # why a batch was skipped, or a training stopped
    ],
    "tinygrad2.gradcheck": ["tinygrad2/gradcheck/[!_]*.py", "tinygrad2/gradcheck/engines/*.py"],
    "tinygrad2.study.lab": [
        *(f"tinygrad2/study/lab/{name}" for name in ("[!_]*.py", "*.js", "page.html")),
        "gpt2/commands/lab.py",
    ],
    "gpt2.run": ["gpt2/run/report.py"],
    "gpt2.insight": ["gpt2/insight/*.html", "gpt2/insight/*.js", "gpt2/commands/inspect.py"],
}
"""Of each package that has a catalogue, the files that say something of it."""

PROSE = re.compile(r"[A-Za-z]{2,}[,;:.)]* [(]?[A-Za-z]|[A-Za-z] [(]?[A-Za-z]{2,}")
"""Two words: what is not that may be a name, a setting or a piece of code, and may have a translation or not."""


def folder(package):
    return ROOT / package.replace(".", "/")


def catalogue(package):
    return json.loads((folder(package) / "zh.json").read_text("utf-8"))


def said(package):
    """The keys of everything that the sources of a package say, and of those the ones that need a translation."""
    keys = set()
    for pattern in SOURCES[package]:
        for path in sorted(ROOT.glob(pattern)):
            read = {".py": of_python, ".js": of_javascript, ".html": of_html}[path.suffix]
            keys |= {key for text in read(path.read_text("utf-8")) for key in clauses(text)}
    return keys, {
        key for key in keys if PROSE.search(re.sub(r"\{\d+\}", "", key)) and not is_code(key) and not OTHERS.search(key)
    }


def clauses(text):
    """What `Translator` looks for: lines and clauses of them, with the fields of each numbered anew."""
    for clause in re.split("\n|; ", text):
        key = numbered(None if i % 2 else part for i, part in enumerate(re.split(r"(\{\d*(?::[^{}]*)?\})", clause.strip())))
        if re.search("[A-Za-z]", re.sub(r"\{\d+\}", "", key)):
            yield key


def is_code(key):
    """Whether it is a program and not a sentence: `not transposed` is both."""
    try:
        ast.parse(re.sub(r"\{\d+\}", "x", key))
    except SyntaxError:
        return False
    return not re.fullmatch(r"[\w ]+", key)


OTHERS = re.compile(
    r"\(prefers-|minmax\(|padding:|--hue|^\.pager|^input, select|^(names|op|rest|soft|verdict) (soft|leaf|pager|small|sure)"
    r"|^use strict|\(\?<!|^/ |keepdims|broadcast_to\(|^(vjp|backward)= of"  # the style of a page, and code
    r"|^<(h2|img|p id)|^--data -  #|\\d\+"  # tags, commands, and patterns
    r"|bwd rule|modified by an inplace|returned an in|of NumPy or PyTorch|its training diverged"  # errors, and those of others
)
"""What is not said."""


def of_python(source):
    """Every string in a Python source."""
    return _strings(ast.parse(source))


def _strings(node):
    match node:
        case ast.Raise(ast.Call(ast.Name("ContractError" | "DoubtError" | "NonFiniteError"), args)):  # which become verdicts
            for part in args:
                yield from _strings(part)
            return
        case ast.Raise() | ast.Expr(ast.Constant()) | ast.Assert() | ast.Assign([ast.Name("HELP")]):
            return
        case (
            ast.Call(ast.Attribute(attr="add_argument" | "compile") | ast.Name("add_run" | "add_model" | "add_prompt"))
            | ast.arg()
            | ast.AnnAssign(value=None)
        ):
            return
        case ast.Call(ast.Name("counted"), [number, ast.Constant(str(noun)), *_]):
            yield from ("{0} " + noun, "{0} " + plural(noun))
            yield from _strings(number)
            return
        case ast.Constant(str(text)):
            yield text
            return
        case ast.BinOp(op=ast.Add()) if any(isinstance(part, ast.JoinedStr | ast.Constant) for part in added(node)):
            yield numbered(literal for part in added(node) for literal in literals(part))
            for part in added(node):
                if not isinstance(part, ast.Constant | ast.JoinedStr):
                    yield from _strings(part)
                for inner in getattr(part, "values", ()) if isinstance(part, ast.JoinedStr) else ():
                    yield from _strings(inner.value) if isinstance(inner, ast.FormattedValue) else ()
            return
        case ast.JoinedStr(values):
            yield numbered(literals(node))
            for part in values:
                if isinstance(part, ast.FormattedValue):
                    yield from _strings(part.value)
            return
        case ast.FunctionDef():
            for part in (*node.args.defaults, *node.args.kw_defaults, *node.body):
                yield from _strings(part) if part is not None else ()
            return
        case ast.AnnAssign(value=value):
            yield from _strings(value)
            return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)


def added(node):
    """The terms of a sum."""
    return [*added(node.left), *added(node.right)] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) else [node]


def literals(node):
    """The literal parts of a string, and None for each field; of what is no string, None."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return [part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else None for part in parts]


def plural(noun):
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


def numbered(parts):
    """A template of its literal parts, and None for each field; two fields side by side are one."""
    text, count = "", 0
    for part in parts:
        if part is not None:
            text += part
        elif not text.endswith("}") or not re.search(r"\{\d+\}$", text):
            text += f"{{{count}}}"
            count += 1
    return text


TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"((?:[^"\\\n]|\\.)*)"|`""", re.DOTALL)


def of_javascript(source):
    """Every string in a JavaScript source in which strings have double quotes; those with a field are in backquotes."""
    at = 0
    while found := TOKEN.search(source, at):
        at = found.end()
        if found[1] is not None:
            yield json.loads(f'"{found[1]}"')  # a + b of two strings is two texts, or ends in "; "
        elif found[0] == "`":
            parts, at, inner = _template(source, at)
            yield numbered(parts)
            for text in inner:
                yield from of_javascript(text)


def _template(source, at):
    """The parts of a template that begins here, where it ends, and the expressions in it."""
    parts, inner, literal = [], [], ""
    while source[at] != "`":
        if source[at] == "\\":
            literal, at = literal + json.loads(f'"{source[at : at + 2]}"'), at + 2
        elif source.startswith("${", at):
            start, depth, at = at + 2, 1, at + 2
            while depth:
                if source[at] == "`":
                    at = _template(source, at + 1)[1]
                    continue
                depth += {"{": 1, "}": -1}.get(source[at], 0)
                at += 1
            parts += [literal, None]
            inner.append(source[start : at - 1])
            literal = ""
        else:
            literal, at = literal + source[at], at + 1
    return [*parts, literal], at + 1, inner


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.quiet = [], 0

    def handle_starttag(self, tag, attrs):
        self.quiet += tag in ("script", "style", "kbd", "code")
        self.found += [value for name, value in attrs if name in ("title", "aria-label", "placeholder") and value]

    def handle_endtag(self, tag):
        self.quiet -= tag in ("script", "style", "kbd", "code")

    def handle_data(self, text):
        if not self.quiet and text.strip():
            self.found.append(re.sub(r"\s+", " ", text))


def of_html(source):
    """The texts of a page, and of its attributes that are read; what is filled in, in braces, is a field."""
    parser = Texts()
    parser.feed(source)
    return [
        numbered(None if i % 2 else part for i, part in enumerate(re.split(r"(\{\w+\}|@\w+@)", text))) for text in parser.found
    ]


@pytest.mark.parametrize("package", SOURCES)
def test_all_that_is_said_has_a_chinese_text_with_the_same_fields(package):
    keys, needed = said(package)
    texts = catalogue(package)
    not_chinese = [text for text in texts.values() if re.search("[A-Za-z]{3}", text) and not re.search("[\u4e00-\u9fff]", text)]
    assert len(needed) > 5
    assert not sorted(needed - texts.keys()), "has no Chinese"
    assert not sorted(texts.keys() - keys), "is not said any more"
    assert not [key for key, text in texts.items() if fields(key) != fields(text)], "has other fields"
    assert not not_chinese
    assert list(texts) == sorted(texts)


def fields(text):
    return sorted(set(re.findall(r"\{\d+\}", text)))


TEXTS = {
    "the loss is {0}": "损失：{0}",
    "{0} for {1}": "对{1}为 {0}",
    "the next token": "下一个 token",
    "the token it just saw": "刚看到的 token",
    "{0} had no {1} at step {2}": "第 {2} 步，{0}没有{1}",
    "gradient": "梯度",
    "and {0} more": " 等，另有 {0} 个",
    "measured at step {0}": "测于第 {0} 步",
    ", up to step {0}": "，直到第 {0} 步",
    "{0}, or {1}": "{0}，或{1}",
    "not finite in {0} of {1}": "{1} 个中有 {0} 个不是有限数",
    "at {0} of {1}": "在 {1} 的 {0} 处",
    "a term is missing: {0}": "缺少一项：{0}",
    "the output": "输出",
    "the gradient is lost": "梯度丢失了",
    "it is late.": "晚了。",
    "validation loss {0} at step {1}": "第 {1} 步的验证损失为 {0}",
    "(which {0} makes higher)": "（{0} 会抬高它）",
    "they are lost, or not added": "它们丢失或没有累加",
    "on its way it rose by {0}": "途中上升 {0}",
}


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("gradient", "梯度"),
        (
            "the loss is 1.2 for the next token, 3.4 for the token it just saw",
            "损失：对下一个 token为 1.2，对刚看到的 token为 3.4",
        ),
        (
            "h.0, h.1 and 4 more had no gradient at step 1,024; measured at step 3",
            "第 1,024 步，h.0, h.1 等，另有 4 个没有梯度；测于第 3 步",
        ),
        ("on its way it rose by 0.1, up to step 7", "途中上升 0.1，直到第 7 步"),
        ("0.5: they are lost, or not added", "0.5：它们丢失或没有累加"),
        ("validation loss 1.5 at step 7 (which some noise makes higher)", "第 7 步的验证损失为 1.5（some noise 会抬高它）"),
        ("not finite in 12 of 144, at [0, 0] of b: gradient", "144 个中有 12 个不是有限数，在 b 的 [0, 0] 处：梯度"),
        ("a term is missing: 2 * the output ** 2 / x", "缺少一项：2 * 输出 ** 2 / x"),
        ("The gradient is lost. It is late.", "梯度丢失了。晚了。"),
        ("  gradient\nthe loss is 2", "  梯度\n损失：2"),
        ("nobody said this; gradient", "nobody said this；梯度"),
        ("h.0 (0.21)", "h.0 (0.21)"),
    ],
)
def test_a_finished_text_is_said_with_its_numbers_and_names(english, chinese):
    assert Translator(TEXTS)(english) == chinese


def test_the_language_is_asked_for_or_that_of_the_environment_or_english(monkeypatch):
    monkeypatch.delenv("TINYGRAD2_LANGUAGE", raising=False)
    assert chosen() == "en"
    assert translation("gpt2.run.health")("training loss") == "training loss"
    monkeypatch.setenv("TINYGRAD2_LANGUAGE", "zh")
    assert translation("gpt2.run.health")("training loss") == "训练损失"
    with within(LANGUAGE, "en"):
        assert chosen() == "en"
    monkeypatch.setenv("TINYGRAD2_LANGUAGE", "klingon")
    with pytest.raises(TinygradError, match="TINYGRAD2_LANGUAGE=klingon: choose en or zh"):
        chosen()


def test_a_table_of_gradcheck_in_chinese_has_its_columns_in_place():
    x = np.linspace(0.5, 2, 6).reshape(2, 3)
    result = gradcheck(lambda x, weights: x * weights, [x, x + 1], vjp=lambda g, x, weights: (g * x, 2 * g * x))
    assert result.verdict == "wrong"
    english = str(result).splitlines()
    with within(LANGUAGE, "zh"):
        chinese = str(result).splitlines()
    assert len(english) == len(chinese) == 4
    assert width_of(english[0]) == width_of(chinese[0])
    for before, after in zip(english[1:3], chinese[1:3], strict=True):
        assert before.partition("<-")[0] == after.partition("<-")[0]
        assert "<- wrong at" in before
        assert "<- 错误，位于 [" in after
    assert english[-1].startswith("wrong: 12 entries, worst relative error ")
    assert chinese[-1].startswith("错误: 12 个元素, 最大相对误差 ")
    assert result.as_dict()["verdict"] == "wrong"


def show():
    """For each catalogue, what it lacks, what is left over, and what could have a text."""
    for package in SOURCES:
        there = catalogue(package) if (folder(package) / "zh.json").exists() else {}
        keys, needed = said(package)
        print(package)
        print("\n".join(f'  {json.dumps(key, ensure_ascii=False)}: "",' for key in sorted(needed - there.keys())))
        print("  not said any more:", sorted(there.keys() - keys))
        print("  short:", sorted(key for key in keys - needed - there.keys() if not is_code(key)))


if __name__ == "__main__":
    show()
