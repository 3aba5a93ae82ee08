"""The pages for teachers say what the exercises say.

Their tables are made from the exercises. After those have changed, this writes them again:

    python tests/test_course_page.py
"""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tinygrad2")]

from solved import EVERY  # noqa: E402

from tinygrad2.study.course.exercise import Text  # noqa: E402
from tinygrad2.study.course.folder import Folder  # noqa: E402
from tinygrad2.study.course.judging import VERDICTS, Verdict  # noqa: E402

PAGES = {"en": ROOT / "docs" / "course-for-teachers.md", "zh": ROOT / "docs" / "zh" / "course-for-teachers.md"}
SHOWN = 2
"""Mistakes of each exercise that the page has."""


def schedule(language):
    """The exercises week by week, and how long they take."""
    rows, week = [Text("week | exercise | minutes | imports", "周 | 练习 | 分钟 | 导入").of(language).split("|")], 0
    for one in EVERY.values():
        if one.week != week:
            week = one.week
            minutes = sum(other.minutes for other in EVERY.values() if other.week == week)
            rows.append([f"**{week}**", "", f"**{minutes}**", ""])
        needed = ", ".join(str(int(key[1:3])) for key in one.needs)
        rows.append(["", f"{one.number} {_plain(one.title.of(language))}", str(one.minutes), needed])
    hours = f"{sum(one.minutes for one in EVERY.values()) / 60:.0f}"
    return _table(
        [*rows, Text(f" | **all** | **{hours} hours** | ", f" | **合计** | **{hours} 小时** | ").of(language).split("|")]
    )


def mistakes(language):
    """How many each exercise knows, and the first of them."""
    rows = [Text("exercise | known | for example", "练习 | 已知 | 例如").of(language).split("|")]
    for one in EVERY.values():
        examples = "<br>".join(_plain(mistake.why.of(language)) for mistake in one.mistakes[:SHOWN])
        rows.append([f"{one.number} {one.key[4:].replace('_', ' ')}", str(len(one.mistakes)), examples])
    total = sum(len(one.mistakes) for one in EVERY.values())
    return _table([*rows, [Text("all", "合计").of(language), str(total), ""]])


def _table(rows):
    rows = [[cell.strip() for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def _plain(text):
    """A text in which Markdown finds no signs of its own."""
    return re.sub(r"([\\*_|<>`])", r"\\\1", text)


def renewed(text, language):
    """A page with the tables as they are to be."""
    for name, table in (("schedule", schedule(language)), ("mistakes", mistakes(language))):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        assert text.count(begin) == text.count(end) == 1
        text = text[: text.index(begin) + len(begin)] + table + text[text.index(end) :]
    return text


@pytest.mark.parametrize("language", PAGES)
def test_the_tables_are_those_of_the_exercises(language):
    text = PAGES[language].read_text("utf-8")
    assert text == renewed(text, language), f"run: python {Path(__file__).relative_to(ROOT)}"


@pytest.mark.parametrize("language", PAGES)
def test_the_fields_and_verdicts_are_those_of_a_row(language, tmp_path):
    text = PAGES[language].read_text("utf-8")
    one = next(iter(EVERY.values()))
    Folder.start(tmp_path, [one], language)
    row = Folder(tmp_path, [one]).row(one, Verdict("right"), 1)
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(row)
    (line,) = re.findall(r"^\| `verdict` .*$", text, re.MULTILINE)
    assert set(re.findall("`([a-z ]+)`", line)) == {"verdict", *VERDICTS}


def test_both_languages_have_the_same_parts():
    en, zh = (path.read_text("utf-8") for path in PAGES.values())
    for mark in (r"^#+ ", r"^\|", r"^- ", r"^```sh"):
        assert len(re.findall(mark, en, re.MULTILINE)) == len(re.findall(mark, zh, re.MULTILINE)), mark
    commands = [re.findall(r"^(?:    )?(gpt2 .+?)(?=  |$)", text, re.MULTILINE) for text in (en, zh)]
    assert commands[0] == [command.replace(" --language zh", "") for command in commands[1]]
    assert len(commands[0]) >= 10


def main():
    for language, path in PAGES.items():
        path.write_text(renewed(path.read_text("utf-8"), language), "utf-8")


if __name__ == "__main__":
    main()
