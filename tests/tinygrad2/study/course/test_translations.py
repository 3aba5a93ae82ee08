"""A text in one language does not change alone.

`translations.txt` has a line for each pair of an English and a Chinese text that belong together: the beginnings of their
hashes. After both were changed, or a pair was added, this renews it, and says which pairs have only one side that is new:

    python tests/tinygrad2/study/course/test_translations.py
"""

import ast
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
KNOWN = Path(__file__).with_name("translations.txt")
FILES = [
    *sorted((ROOT / "tinygrad2/study/course").rglob("*.py")),
    *sorted((ROOT / "gpt2/course").rglob("*.py")),
]


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def pairs(path):
    """All texts of a file that stand in both languages: arguments of `Text`, and docstrings with `[zh]`."""
    tree = ast.parse(path.read_text("utf-8"))
    doc = ast.get_docstring(tree, clean=False) or ""
    if "\n[zh]\n" in doc:
        yield tuple(doc.split("\n[zh]\n"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Text" and len(node.args) == 2:
            yield tuple(map(words, node.args))


def words(node):
    """A text as it stands there; of what is put into it, the names. (Pythons differ in how they write an expression.)"""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(words, node.values))
    return f"{{{' '.join(sorted({one.id for one in ast.walk(node) if isinstance(one, ast.Name)}))}}}"


def every():
    return {(short(en), short(zh)): (path, en, zh) for path in FILES for en, zh in pairs(path)}


def known():
    return {tuple(line.split()) for line in KNOWN.read_text().splitlines()} if KNOWN.exists() else set()


def changed_alone(now, before):
    """The pairs of which exactly one side is known: with another partner."""
    english, chinese = {en for en, _ in before}, {zh for _, zh in before}
    return [pair for pair in now if pair not in before and (pair[0] in english) != (pair[1] in chinese)]


def test_no_text_has_changed_in_one_language_alone():
    now, before = every(), known()
    wrong = [f"{now[pair][0].name}: {now[pair][1]:.70}" for pair in now if pair not in before]
    assert not wrong, f"look at the other language, then: python {Path(__file__).relative_to(ROOT)}\n" + "\n".join(wrong)
    assert not before - now.keys(), "pairs that are gone: renew the list"
    assert len(now) > 150


def test_one_changed_side_is_seen():
    before = {("a", "b"), ("c", "d")}
    assert changed_alone({("a", "x"): 0, ("c", "d"): 0, ("e", "f"): 0}, before) == [("a", "x")]
    assert changed_alone({("x", "b"): 0}, before) == [("x", "b")]


def main(argv):
    now, before = every(), known()
    alone = changed_alone(now, before)
    if alone and "--anyway" not in argv:
        for pair in alone:
            path, en, zh = now[pair]
            print(f"{path.relative_to(ROOT)}: changed in one language alone:\n  {en}\n  {zh}")
        print("Change the other side too or, where its meaning is still the same, add --anyway.")
        return 1
    KNOWN.write_text("".join(f"{en} {zh}\n" for en, zh in sorted(now)))
    print(f"{len(now)} pairs, of which {len(now.keys() - before)} are new")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
