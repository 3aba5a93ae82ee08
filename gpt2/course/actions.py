"""What `gpt2 learn` does: begin, check, hint, show a page, grade, and write solutions."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpt2.errors import ConfigError
from gpt2.files import strict_json
from gpt2.terminal import one_line, printable, wrapped
from tinygrad2.errors import counted
from tinygrad2.language import padded
from tinygrad2.study.course.exercise import LANGUAGES, Exercise, Text, exercises
from tinygrad2.study.course.folder import STATE, Folder
from tinygrad2.study.course.judging import BROKEN, MISSING, RIGHT, UNWRITTEN, VERDICTS, WRONG, Verdict
from tinygrad2.study.course.runner import Checked
from tinygrad2.study.course.runner import check as check_alone
from tinygrad2.study.course.runner import page as page_of

PACKAGES = ("tinygrad2.study.course", "gpt2.course")
MARKS = {
    RIGHT: Text("ok", "正确"),
    WRONG: Text("wrong", "错误"),
    BROKEN: Text("fails", "出错"),
    MISSING: Text("no file", "缺失"),
    UNWRITTEN: Text("", ""),
}
PRINTED = 10
"""Lines of what a learner's code prints that are shown."""


def run(args: argparse.Namespace) -> int:
    """Do what the words of a command line ask for."""
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))  # so that what a check has begun ends with it
    action, *args.what = args.action or ["show"]
    if action not in ACTIONS:
        near = difflib.get_close_matches(action, ACTIONS, 1)
        there = f"did you mean {near[0]}?" if near else f"choose from {', '.join(ACTIONS)}"
        raise ConfigError(f"there is no action {action!r}; {there}")
    for flag, where in {"watch": "check", "json": "check, grade", "out": "lab", "seed": "check, lab, grade"}.items():
        if getattr(args, flag) not in (None, False) and action not in where.split(", "):
            raise ConfigError(f"--{flag} is for {where}: leave it out")
    if args.language not in LANGUAGES:
        raise ConfigError(f"--language {args.language}: choose {' or '.join(LANGUAGES)}")
    args.action = action
    return ACTIONS[action](args, exercises(PACKAGES))


def _start(args: argparse.Namespace, every: Sequence[Exercise]) -> int:
    path = Path(_only(args, "folder", "course"))
    written = Folder.start(path, every, args.language)
    there = len(every) - len(written)
    kept = f"; {counted(there, 'file')} that were there stay as they are" if there else ""
    print(one_line(f"{path}: {counted(len(written), 'exercise')} written{kept}"))
    check = f"gpt2 learn check 1{_flag(Folder(path, every))}"
    print(f"Open {one_line(str(path / every[0].key))}.py, fill its holes, then: {check}")
    return 0


def _show(args: argparse.Namespace, every: Sequence[Exercise]) -> int:
    """How far they are."""
    _none(args)
    folder = _folder(args, every)
    week, right, left = 0, 0, 0
    following: Exercise | None = None
    say = _in(folder)
    for one in every:
        if one.week != week:
            week = one.week
            print(say(Text(f"Week {week}", f"第 {week} 周")))
        verdict = folder.verdict(one)
        mark = say(MARKS[verdict.verdict] if verdict else Text("changed", "已修改"))
        attempts = folder.attempts(one)
        minutes = say(Text(f"{one.minutes} min", f"{one.minutes} 分钟"))
        tries = say(Text(counted(attempts, "attempt"), f"{attempts} 次尝试")) if attempts else minutes
        short = re.split("[:：]", one.title.of(folder.language))[0]
        print(f"  {one.number:02}  {padded(mark, 8)} {padded(short, 28)} {tries}".rstrip())
        done = verdict is not None and verdict.verdict == RIGHT
        right += done
        left += 0 if done else one.minutes
        following = following or (None if done else one)
    print(say(Text(f"{right} of {len(every)} right", f"{len(every)} 题中完成 {right} 题")), end="")
    if following:
        hours = f"{left / 60:.0f}"
        print(say(Text(f"; about {hours} hours to go; next: ", f"；大约还需 {hours} 小时；下一题：")), end="")
        print(one_line(str(folder.path / following.key)) + ".py")
    else:
        print()
    return 0


def _check(args: argparse.Namespace, every: Sequence[Exercise]) -> int:
    folder = _folder(args, every)
    seed = args.seed or 0
    chosen = [one for word in args.what for one in _several(word, every)] or list(every)
    rows, good = [], True
    for one in chosen:
        found = folder.check(one, seed)
        rows.append(folder.row(one, found.verdict, seed))
        good &= found.verdict.verdict == RIGHT or (not args.what and found.verdict.verdict == UNWRITTEN)
        if not args.json:
            _report(folder, one, found, every)
    if args.json:
        print(strict_json({"exercises": rows}))
    if args.watch:
        _watch(folder, chosen, seed, every)
    return 0 if good else 1


def _watch(folder: Folder, chosen: Sequence[Exercise], seed: int, every: Sequence[Exercise]) -> None:
    print(_in(folder)(Text("Waiting for a file to be saved; Ctrl-C ends.", "等待文件保存；按 Ctrl-C 结束。")), flush=True)
    known = {one.key: folder.digest(one) for one in chosen}
    while True:
        time.sleep(0.3)
        for one in chosen:
            if (digest := folder.digest(one)) != known[one.key]:
                known[one.key] = digest
                _report(folder, one, folder.check(one, seed), every)


def _report(folder: Folder, one: Exercise, found: Checked, every: Sequence[Exercise]) -> None:
    verdict, say = found.verdict, _in(folder)
    line = f"{one.number:02} {one.key[4:]}: {say(VERDICTS[verdict.verdict])}"
    if verdict.verdict == RIGHT:
        error = 0.0 if verdict.error is None else verdict.error
        line += say(
            Text(
                f" ({counted(verdict.checked, 'result')}, worst relative error {error:.1e})",
                f"（{verdict.checked} 个结果，最大相对误差 {error:.1e}）",
            )
        )
    print(line)
    if verdict.where.en and verdict.verdict != RIGHT:
        _indented(say(verdict.where))
    if verdict.verdict in (WRONG, BROKEN):
        before = [other for other in every if other.key in one.needs]
        open_ = (
            []
            if verdict.mistake is not None
            else [other.key for other in before if (known := folder.verdict(other)) is None or known.verdict != RIGHT]
        )
        if open_:
            names = ", ".join(open_)
            _indented(
                say(
                    Text(f"it builds on {names}, not known to be right: begin there", f"它依赖 {names}，尚未确认正确：请先检查")
                )
            )
        hint = f"gpt2 learn hint {one.number}{_flag(folder)}"
        _indented(say(Text(f"{hint} says more", f"{hint} 给出提示")))
    lines = printable(found.printed).rstrip().splitlines()
    if lines:
        print(say(Text("    it printed:", "    输出：")))
        for text in lines[:PRINTED]:
            print(f"    | {text[:200]}")
        if len(lines) > PRINTED:
            print(say(Text(f"    | and {len(lines) - PRINTED} lines more", f"    | 另有 {len(lines) - PRINTED} 行")))


def _flag(folder: Folder) -> str:
    """How the folder is to be named in a command, if it is."""
    here = folder.path == Path() or folder.path.resolve() in (Path.cwd(), Path.cwd() / "course")
    return "" if here else f" --folder {shlex.quote(one_line(str(folder.path)))}"


def _indented(text: str) -> None:
    print(wrapped(text, 100, "    ", "    "))


def _hint(args: argparse.Namespace, every: Sequence[Exercise]) -> int:
    folder = _folder(args, every)
    one = _named(_only(args, "exercise"), every)
    steps = folder.hint(one)
    say = _in(folder)
    if not steps:
        verdict = folder.verdict(one) or Verdict(MISSING)
        print(f"{one.number:02} {one.key[4:]}: {say(VERDICTS[verdict.verdict])}")
    for step in steps:
        _indented(say(step))
    return 0


def _lab(args: argparse.Namespace, every: Sequence[Exercise]) -> int:
    folder = _folder(args, every)
    one = _named(_only(args, "exercise"), every)
    path = Path(args.out or folder.path / f"{one.key}.html")
    size = page_of(one, folder.path, args.seed or 0, path)
    print(f"{one_line(str(path))}: {size / 1e6:.2f} MB; open it in a browser")
    return 0


def _grade(args: argparse.Namespace, every: Sequence[Exercise]) -> int:
    if not args.what:
        raise ConfigError("grade: name the folders of those who are to be graded: gpt2 learn grade alice bob")
    seed = 1 if args.seed is None else args.seed
    rows = []
    for person, path in _people(args.what).items():
        folder = Folder(path, every)
        for one in every:
            untouched = folder.is_untouched(one)
            verdict = Verdict(UNWRITTEN) if untouched else check_alone(one, folder.path, seed).verdict
            rows.append(folder.row(one, verdict, seed, person))
        if not args.json:
            _grades(folder, person, [row for row in rows if row["person"] == person])
    if args.json:
        print(strict_json({"rows": rows}))
    return 0


def _grades(folder: Folder, person: str, rows: Sequence[dict[str, Any]]) -> None:
    say = _in(folder)
    right = sum(row["right"] for row in rows)
    print(one_line(say(Text(f"{person}: {right} of {len(rows)} right", f"{person}：{len(rows)} 题中 {right} 题正确"))))
    for row in rows:
        if row["verdict"] not in (RIGHT, UNWRITTEN):
            print(f"  {row['exercise'][1:3]} {say(VERDICTS[row['verdict']])}: {one_line(row['hint'])}")


def _people(names: Sequence[str]) -> dict[str, Path]:
    """Folders by the names of persons: the last part of each, or all of it where that is not unlike the others."""
    paths = [Path(name).resolve() for name in names]
    twice = [name for name, path in zip(names, paths, strict=True) if paths.count(path) > 1]
    if twice:
        raise ConfigError(f"grade: {twice[0]} is named twice")
    last = [path.name for path in paths]
    unlike = len({*last}) == len(last)
    return {path.name if unlike else os.path.normpath(name): path for name, path in zip(names, paths, strict=True)}


def _solutions(args: argparse.Namespace, every: Sequence[Exercise]) -> int:
    path = Path(_only(args, "folder"))
    if (path / STATE).exists():
        raise ConfigError(f"{path} is a learner's folder: name another one for the solutions")
    path.mkdir(parents=True, exist_ok=True)
    taken = [one.key for one in every if (path / f"{one.key}.py").exists()]
    if taken:
        raise ConfigError(f"{path / taken[0]}.py is there: name an empty folder")
    for one in every:
        (path / f"{one.key}.py").write_text(one.solved(args.language), "utf-8")
    Folder.start(path, every, args.language)
    print(one_line(f"{path}: {counted(len(every), 'solution')} written"))
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace, Sequence[Exercise]], int]] = {
    "show": _show,
    "start": _start,
    "check": _check,
    "hint": _hint,
    "lab": _lab,
    "grade": _grade,
    "solutions": _solutions,
}


def _folder(args: argparse.Namespace, every: Sequence[Exercise]) -> Folder:
    """The learner's folder: the one that is named, this one, or `course` in it."""
    if args.folder is not None:
        return Folder(Path(args.folder), every)
    there = [path for path in (Path(), Path("course")) if (path / STATE).exists()]
    if not there:
        raise ConfigError("no course is here: begin one with gpt2 learn start, or name yours with --folder")
    return Folder(there[0], every)


def _none(args: argparse.Namespace) -> None:
    if args.what:
        raise ConfigError(f"{args.action} takes nothing more; {args.what[0]!r} was given")


def _only(args: argparse.Namespace, what: str, default: str | None = None) -> str:
    """The one word that an action takes."""
    words = args.what or ([default] if default else [])
    if len(words) != 1 or not words[0].strip():
        given = f"{len(words)} were given" if words else "none was given"
        raise ConfigError(f"{args.action}: name one {what}; {given}")
    return str(words[0])


def _several(word: str, every: Sequence[Exercise]) -> list[Exercise]:
    """Those from one to another, as in 3-7; or one."""
    ends = re.fullmatch(r"(\d+)-(\d+)", word)
    if not ends:
        return [_named(word, every)]
    first, last = (every.index(_named(end, every)) for end in ends.groups())
    return list(every[first : last + 1])


def _named(word: str, every: Sequence[Exercise]) -> Exercise:
    """The exercise that a word means: 6, 06, e06, unbroadcast or e06_unbroadcast."""
    plain = Path(word.lower()).name.removesuffix(".py")
    for one in every:
        if plain in (str(one.number), f"{one.number:02}", one.key, one.key[:3], one.key[4:]):
            return one
    raise ConfigError(f"there is no exercise {word!r}; they go from {every[0].number} to {every[-1].number}")


def _in(folder: Folder) -> Callable[[Text], str]:
    return lambda text: text.of(folder.language)
