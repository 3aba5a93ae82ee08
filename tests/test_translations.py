"""A text in one language does not change alone: an English paragraph and its Chinese twin are renewed together.

The twin of `README.md` is `README.zh.md`, also in the folder of an experiment; that of `docs/PAGE.md` is `docs/zh/PAGE.md`.
Block i of a page and block i of its twin belong together: a paragraph, a heading, an item of a list, a row of a table, a fenced
block. So do the two arguments of a `Text` in the code, and a docstring and what stands behind its `[zh]`. A file of
`translations/` has a line for each such pair: the beginnings of their hashes, however their lines are broken.

After both sides were changed, or a page was added, this renews the files, and lists what is translated. It refuses a pair of
which one side alone is new; where its meaning is still that of the other, name the English file after --anyway:

    python tests/test_translations.py
    python tests/test_translations.py --anyway docs/muon.md
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_name("translations")
COMMAND = "python tests/test_translations.py"
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "experiments").glob("[0-9]*/README.md")),
]
"""All that have, or are to have, a twin."""
MISSING = {"docs/numpy.md"}
"""Those that have none: that one is a list of names, which a program prints."""
CHINESE = r"[\u3400-\u9fff]"


def twin(page: Path) -> Path:
    return page.parent / "zh" / page.name if page.parent.name == "docs" else page.with_suffix(".zh.md")


TWINS = {page: twin(page) for page in PAGES}
TRANSLATED = [page for page in PAGES if TWINS[page].exists()]
each = pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: name(page))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- Pages, in blocks ---------------------------------------------------------------------------------------------------------

SWITCH = re.compile(r"\[(中文|English)\]\(\S+\)")
"""A line that leads to the other language, and belongs to neither."""
BEGINS = re.compile(r"\||#|<!--|\s*([-*]|\d{1,2}\.) ")
"""A row of a table, a heading, a mark, or an item of a list: a block of its own, also without an empty line before."""
GENERATED = re.compile(r"(<!-- (?:schedule|mistakes) -->\n).*?(?=<!-- /)", re.DOTALL)
"""Tables that are made of the texts of the exercises, in both languages."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"\s*```")
INDENTED = re.compile(r"    (?![-*\d])")


def blocks(text: str) -> list[str]:
    """The paragraphs of a page, items of lists, rows of tables and fenced blocks, in their order."""
    found: list[list[str]] = [[]]
    fenced = False
    for line in GENERATED.sub(r"\1", text).splitlines():
        fence = bool(FENCE.match(line))
        if not fenced and (fence or not line.strip() or BEGINS.match(line)):
            found.append([])
        if fenced or line.strip():
            found[-1].append(line)
        if fence:
            fenced = not fenced
            if not fenced:
                found.append([])
    return ["\n".join(lines) for lines in found if lines and not SWITCH.fullmatch(lines[0])]


def of_page(page: Path) -> tuple[list[str], list[str]]:
    return blocks(page.read_text("utf-8")), blocks(TWINS[page].read_text("utf-8"))


def is_code(block: str) -> bool:
    return bool(FENCE.match(block) or INDENTED.match(block))


def without_comments(code: str) -> list[str]:
    """The lines of a fenced block. Comments may be translated, but for those of what is printed or quoted from a file."""
    if not re.match(r"\s*```(sh|python)(?! file=)", code):
        return code.splitlines()
    lines = [re.sub(r"(^|\s)#.*", "", line.replace(" --language zh", "")).rstrip() for line in code.splitlines()]
    return [line for line in lines if line]


def prose(block: str) -> str:
    """What there is to translate: no code, formulas, HTML or targets of links."""
    if is_code(block):
        return ""
    return re.sub(r"`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|<[^>]*>|\]\([^)]*\)", " ", block, flags=re.DOTALL)


def to_be_kept(block: str) -> set[str]:
    """The numbers, pieces of code and formulas of a block: a translation has the same."""
    marked = re.findall(r"`[^`]+`|\$\$.+?\$\$|\$[^$]+\$", re.sub(r"\s+", " ", block), re.DOTALL)
    return {*marked, *re.findall(r"(?<![A-Za-z0-9_.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?", prose(block))}


def unrendered(block: str) -> list[str]:
    """Stars that Markdown leaves as stars: between a letter and a punctuation mark, on the wrong side of it."""
    text = f" {re.sub(r'`[^`]*`', '`', re.sub(r'[$][^$]*[$]|[]][(][^)]*[)]', ']', block))} "
    found, opened = [], False
    for star in re.finditer(r"(?<!\\)\*+", text):
        before, after = text[star.start() - 1], text[star.end()]
        if before.isspace() and after.isspace():
            continue  # a product, or an item of a list
        opened = not opened
        inside, outside = (after, before) if opened else (before, after)
        if inside.isspace() or (not inside.isalnum() and outside.isalnum()):
            found.append(text[max(0, star.start() - 12) : star.end() + 12])
    return found


def lead(block: str) -> str:
    return " ".join(block.split())[:70]


# --- Pairs, and which are known -----------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    where: Path
    en: str
    zh: str

    @property
    def hashes(self) -> tuple[str, str]:
        return short(self.en), short(self.zh)

    def changed(self, before: set[tuple[str, ...]]) -> str:
        """What is to be said of a pair that is not known."""
        en, zh = (one in side for one, side in zip(self.hashes, sides(before), strict=True))
        what = {(False, True): "English changed, Chinese did not", (True, False): "Chinese changed, English did not"}
        return f"{name(self.where)}: {what.get((en, zh), 'a new pair')}: {lead(self.zh if en and not zh else self.en)}"


def short(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:12]


def pairs_of_code(path: Path) -> Iterator[Pair]:
    """All texts of a file that stand in both languages: arguments of `Text`, and docstrings with `[zh]`."""
    source = path.read_text("utf-8")
    if "\n[zh]\n" not in source and "Text(" not in source:
        return
    tree = ast.parse(source)
    doc = ast.get_docstring(tree, clean=False) or ""
    if "\n[zh]\n" in doc:
        en, zh = doc.split("\n[zh]\n")
        yield Pair(path, en, zh)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Text" and len(node.args) == 2:
            yield Pair(path, *map(words, node.args))


def words(node: ast.AST) -> str:
    """A text as it stands there; of what is put into it, the names. (Pythons differ in how they write an expression.)"""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(words, node.values))
    return f"{{{' '.join(sorted({one.id for one in ast.walk(node) if isinstance(one, ast.Name)}))}}}"


def pairs() -> dict[str, list[Pair]]:
    """All pairs, by the name of the file in `translations/`: one for each page of equal blocks, and one for the code."""
    code = [path for package in ("tinygrad2", "gpt2") for path in sorted((ROOT / package).rglob("*.py"))]
    found = {"code": [pair for path in code for pair in pairs_of_code(path)]}
    for page in TRANSLATED:
        if both := aligned(page):
            found[kind_of(page)] = [Pair(page, en, zh) for en, zh in both if en != zh]
    return found


def unequal(page: Path) -> str:
    """Of a page that has not as many blocks as its twin: how many each has, and which have no partner. Else nothing."""
    en, zh = of_page(page)
    there = {*map(short, en)}, {*map(short, zh)}
    paired = sides({(one, other) for one, other in known(kind_of(page)) if one in there[0] and other in there[1]})
    alone = [f"{name(page)}: {lead(block)}" for block in en if short(block) not in paired[0] | there[1]]
    alone += [f"{name(TWINS[page])}: {lead(block)}" for block in zh if short(block) not in paired[1] | there[0]]
    said = f"{name(page)} has {len(en)} blocks, its twin {len(zh)}; without a partner:\n" + "\n".join(alone)
    return said if len(en) != len(zh) else ""


def aligned(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page, each with that of its twin; none where their numbers differ, which a test says."""
    return [] if unequal(page) else list(zip(*of_page(page), strict=True))


def kind_of(page: Path) -> str:
    """The name of the file in `translations/`, without its suffix."""
    return name(page).replace("/", "-")


def known(kind: str) -> set[tuple[str, ...]]:
    path = KNOWN / f"{kind}.txt"
    return {tuple(line.split()) for line in path.read_text().splitlines()} if path.exists() else set()


def sides(hashes: set[tuple[str, ...]]) -> tuple[set[str], set[str]]:
    return {en for en, _ in hashes}, {zh for _, zh in hashes}


def changed_alone(now: list[Pair], before: set[tuple[str, ...]]) -> list[Pair]:
    """The pairs of which exactly one side is known: with another partner."""
    english, chinese = sides(before)
    new = [(pair, *pair.hashes) for pair in now if pair.hashes not in before]
    return [pair for pair, en, zh in new if (en in english) != (zh in chinese)]


# --- Tests --------------------------------------------------------------------------------------------------------------------


def test_no_text_has_changed_in_one_language_alone():
    now = pairs()
    wrong = [one.changed(known(kind)) for kind in now for one in now[kind] if one.hashes not in known(kind)]
    assert not wrong, f"look at the other language, then run: {COMMAND}\n" + "\n".join(wrong)
    stale = [kind for kind in now if known(kind) - {pair.hashes for pair in now[kind]}]
    stale += [path.stem for path in KNOWN.glob("*.txt") if path.stem not in ("code", *map(kind_of, TRANSLATED))]
    assert not stale, f"pairs that are gone; run: {COMMAND}"
    assert len(now["code"]) > 150


def test_every_page_has_a_twin_but_for_those_that_are_known_to_have_none_yet():
    found = {name(page) for page in PAGES if page not in TRANSLATED}
    assert found == MISSING


@each
def test_a_page_and_its_twin_have_the_same_parts(page):
    assert not unequal(page), unequal(page)
    for a, b in aligned(page):
        marks = [re.match(r"\s*(```.*|#+ |[-*] |\d+\. |\||<|)", block)[1] for block in (a, b)]
        assert marks[0] == marks[1], f"{lead(a)}\nis not of the same kind as\n{lead(b)}"
        if is_code(a):
            assert without_comments(a) == without_comments(b), f"{lead(a)}: code differs by more than comments"


@each
def test_a_twin_is_translated_and_keeps_numbers_and_code(page):
    wrong = []
    for a, b in aligned(page):
        if a == b and re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", prose(a)):
            wrong.append(f"not translated: {lead(a)}")
        lacks = set() if is_code(a) else to_be_kept(a) - to_be_kept(b)
        wrong += [f"{lead(b)}\n    lacks what the English has: {', '.join(sorted(lacks))}"] * bool(lacks)
        wrong += [f"stars that are not rendered: {part}" for part in unrendered(b) if not is_code(b)]
    assert not wrong, f"{name(TWINS[page])}:\n" + "\n".join(wrong)


@each
def test_a_page_and_its_twin_lead_to_each_other(page):
    here, there = (os.path.relpath(b, a.parent) for a, b in ((page, TWINS[page]), (TWINS[page], page)))
    assert f"\n[English]({there})\n" in TWINS[page].read_text("utf-8")
    assert f"\n[中文]({here})\n" in page.read_text("utf-8")


@each
def test_a_twin_links_to_the_same_places_in_chinese(page):
    wrong = []
    for a, b in aligned(page):
        expected = sorted(in_chinese(page, link) for link in LINK.findall(a) if not is_code(a))
        found = sorted(in_full(TWINS[page], link) for link in LINK.findall(b) if not is_code(b))
        wrong += [f"{lead(b)}\n    leads to {found}, and not to {expected}"] * (found != expected)
    assert not wrong, f"{name(TWINS[page])}:\n" + "\n".join(wrong)


def in_full(page: Path, link: str) -> str:
    """A link with its path from the root of the repository."""
    path, mark, heading = link.partition("#")
    return link if "://" in link else os.path.relpath(page.parent / path if path else page, ROOT) + mark + heading


def in_chinese(page: Path, link: str) -> str:
    """Where a link of an English page leads on its twin: to the twin of the other page, if that has one."""
    path, mark, heading = in_full(page, link).partition("#")
    target = ROOT / path / "README.md" if (ROOT / path).is_dir() else ROOT / path
    if "://" in link or target not in TRANSLATED:
        return path + mark + heading
    if heading:
        heading = headings(TWINS[target])[headings(target).index(heading)]
    return name(TWINS[target]) + mark + heading


def headings(page: Path) -> list[str]:
    """As links name them, in their order."""
    found = [block.lstrip("# ").lower() for block in blocks(page.read_text("utf-8")) if block.startswith("#")]
    return [re.sub(r"[^\w -]", "", one).replace(" ", "-") for one in found]


def test_a_change_of_either_language_is_seen():
    def pair(en, zh):
        return Pair(ROOT, en, zh)

    old = [pair("one apple", "一个苹果"), pair("two", "二")]
    before = {one.hashes for one in old}
    assert not changed_alone([*old, pair("one\n apple", "一个苹果"), pair("three", "三")], before)  # wrapped anew; both new
    for planted in (pair("one pear", "一个苹果"), pair("one apple", "一个梨")):
        assert changed_alone([planted, old[1]], before) == [planted]


def test_what_blocks_are():
    code = "```sh\nls  # all\n\n# more\na#b\n```"
    found = blocks(f"one\ntwo\n- x\n  y\n- z\n\n| a |\n|---|\n{code}\n<!-- m -->\nend")
    assert found == ["one\ntwo", "- x\n  y", "- z", "| a |", "|---|", code, "<!-- m -->\nend"]
    assert without_comments(code) == ["```sh", "ls", "a#b", "```"]
    assert without_comments("```text\n1 # 2\n```") == ["```text", "1 # 2", "```"]
    assert not unrendered("**词**（word）是 *词*，2 * 3，a **词。** b")
    assert all(map(unrendered, ("**词（word）**是", "是**“词”**", "**`x`**是")))
    assert blocks("# A\n\n[English](../a.md)\n\nB") == ["# A", "B"]
    assert to_be_kept("`a` is 1,000 of $x_1$,\n2e-7 `b\nc` w2") == {"`a`", "1,000", "$x_1$", "2e-7", "`b c`"}


# --- The command --------------------------------------------------------------------------------------------------------------


def renew(same: Sequence[str]) -> list[str]:
    """Write the pairs that are new, and give what is refused: pairs of which one side changed, except in the files `same`."""
    refused = [said for page in TRANSLATED if (said := unequal(page))]
    for kind, now in pairs().items():
        before = known(kind)
        alone = [one for one in changed_alone(now, before) if name(one.where) not in same]
        refused += [f"{one.changed(before)}\n\n{one.en}\n\n{one.zh}\n" for one in alone]
        if not alone and {one.hashes for one in now} != before:
            KNOWN.mkdir(exist_ok=True)
            lines = [f"{en} {zh}\n" for en, zh in dict.fromkeys(one.hashes for one in now)]
            (KNOWN / f"{kind}.txt").write_text("".join(lines))
            print(f"renewed: {kind}")
    for path in KNOWN.glob("*.txt"):
        if path.stem not in ("code", *map(kind_of, TRANSLATED)):
            path.unlink()
    return refused


def report() -> None:
    """What is translated, in words of English and in Chinese characters; code is not counted."""
    rows = []
    for page in PAGES:
        both = of_page(page) if page in TRANSLATED else (blocks(page.read_text("utf-8")), [])
        rows.append((name(page), *both))
    code = pairs()["code"]
    rows.append((f"{len({one.where for one in code})} files of code", [one.en for one in code], [one.zh for one in code]))
    print(f"{'':44}{'blocks':>8}{'words':>8}{'characters':>12}")
    total = [0, 0, 0]
    for what, en, zh in rows:
        counts = [
            len(en),
            sum(len(re.findall(r"[A-Za-z][\w'-]*", prose(block))) for block in en),
            sum(len(re.findall(CHINESE, block)) for block in zh),
        ]
        total = [a + b for a, b in zip(total, counts, strict=True)] if zh else total
        print(f"{what:44}{counts[0]:8,}{counts[1]:8,}" + (f"{counts[2]:12,}" if zh else "   not translated"))
    print(f"{'translated, in all':44}{total[0]:8,}{total[1]:8,}{total[2]:12,}")


def main(words: list[str]) -> str | None:
    """None, or what was refused."""
    if words and words[0] != "--anyway":
        return f"{' '.join(words)} is not understood: {COMMAND} [--anyway FILE...]"
    files = {name(one.where) for found in pairs().values() for one in found}
    if unknown := set(words[1:]) - files or (words == ["--anyway"] and {"no file"}):
        return f"{', '.join(sorted(unknown))}: --anyway takes files with English texts that have a twin, such as docs/muon.md"
    if refused := renew(words[1:]):
        return "\n".join([*refused, "Change the other side too. Where it still means the same, add: --anyway FILE"])
    report()
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
