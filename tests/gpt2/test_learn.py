"""`gpt2 learn`, as it is typed."""

import json
import re

import pytest
from solved import EVERY

from gpt2.cli import main
from tinygrad2.study.course.folder import Folder

WRONG_SUM = ("np.sum(dp * p, axis=-1, keepdims=True)", "np.sum(dp * p)")


@pytest.fixture
def course(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["learn", "start"]) == 0
    capsys.readouterr()
    return tmp_path / "course"


def solve(folder, key, *edit):
    source = EVERY[key].solved("en")
    (folder / f"{key}.py").write_text(source.replace(*edit) if edit else source)


def said(capsys, *words, code=0):
    assert main(["learn", *words]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_where_one_is(course, capsys):
    out = said(capsys)
    assert f"0 of {len(EVERY)} right" in out
    assert "next: course/e01" in out
    solve(course, "e06_unbroadcast")
    assert "06  changed" in said(capsys)
    assert "06 unbroadcast: right (14 results, worst relative error" in said(capsys, "check", "6")
    out = said(capsys)
    assert re.search(r"06  ok .*1 attempt\b", out)
    assert f"1 of {len(EVERY)} right" in out


def test_start_writes_over_nothing(course, capsys):
    solve(course, "e06_unbroadcast")
    (course / "e10_softmax.py").unlink()
    out = said(capsys, "start", "course")
    assert f"1 exercise written; {len(EVERY) - 1} files that were there stay" in out
    assert "<hole>" not in (course / "e10_softmax.py").read_text()
    assert (course / "e06_unbroadcast.py").read_text() == EVERY["e06_unbroadcast"].solved("en")


def test_hints_come_one_after_another_and_begin_anew_with_another_mistake(course, capsys):
    assert EVERY["e10_softmax"].idea.en.split()[0] in said(capsys, "hint", "10")
    solve(course, "e10_softmax", *WRONG_SUM)
    where = said(capsys, "check", "10", code=1)
    assert "10 softmax: wrong" in where
    first, second, third, fourth = (" ".join(said(capsys, "hint", "softmax").split()) for _ in range(4))
    assert "expected" in first
    assert second.startswith(first)
    assert "every row has its own sum" in second
    assert "every row" not in first
    assert third.startswith(second)
    assert "look for the line that does the same as `np.sum(dp * p)`" in third
    assert fourth == third
    solve(course, "e10_softmax", "p * (dp - along)", "p * dp")
    said(capsys, "check", "10", code=1)
    assert "look for" not in said(capsys, "hint", "10")


def test_everything_is_checked_though_one_does_not_end(course, capsys):
    (course / "e06_unbroadcast.py").write_text("import sys\nsys.exit(1)\n")
    solve(course, "e10_softmax")
    out = said(capsys, "check", code=1)
    assert "06 unbroadcast: does not run" in out
    assert "10 softmax: right" in out
    assert out.count("not written yet") == len(EVERY) - 2


def test_what_a_file_builds_on_is_named(course, capsys):
    solve(course, "e13_bigram")
    out = said(capsys, "check", "13", code=1)
    assert "13 bigram: not written yet" in out
    assert "it imports what is not written yet (e08_tensor.py, line" in out
    for key in EVERY["e13_bigram"].needs:
        solve(course, key)
    solve(course, "e08_tensor", "(g * other.data, g * self.data)", "(g, g)")
    solve(course, "e06_unbroadcast")
    solve(course, "e13_bigram", "data - rate", "data - 1.5 * rate")
    out = said(capsys, "check", "13", code=1)
    assert "it builds on e08_tensor" in out
    said(capsys, "check", "12")
    assert "e12_embedding" not in said(capsys, "check", "13", code=1)


def test_what_is_printed_is_printed_once(course, capsys):
    solve(course, "e10_softmax", *WRONG_SUM)
    path = course / "e10_softmax.py"
    path.write_text(path.read_text().replace("    p = cache", "    print('here')\n    p = cache"))
    out = said(capsys, "check", "10", code=1)
    assert "it printed:" in out
    assert out.count("| here") == 10
    assert "and 2 lines more" in out


def test_a_verdict_holds_as_long_as_the_files_that_it_is_of(course, capsys):
    """Also those that are imported, and theirs."""
    for key in ("e06_unbroadcast", "e08_tensor", *EVERY["e13_bigram"].needs, "e13_bigram"):
        solve(course, key)
    assert "13 bigram: right" in said(capsys, "check", "13")
    solve(course, "e06_unbroadcast", "np.sum(g, axis=extra)", "np.mean(g, axis=extra)")
    assert re.search("13  changed", said(capsys))
    solve(course, "e06_unbroadcast")
    assert re.search("13  ok", said(capsys))
    (course / "e06_unbroadcast.py").write_text(EVERY["e06_unbroadcast"].start("en"))
    assert "13 bigram: not written yet" in said(capsys, "check", "13", code=1)
    solve(course, "e06_unbroadcast")
    rows = json.loads(said(capsys, "grade", "course", "--json"))["rows"]
    assert rows[12]["verdict"] == "right"


def test_what_another_process_has_written_stays(course):
    every = list(EVERY.values())
    one, other = Folder(course, every), Folder(course, every)
    for folder, key in ((one, "e06_unbroadcast"), (other, "e10_softmax"), (one, "e05_sums_and_shapes")):
        solve(course, key)
        folder.check(EVERY[key])
    assert all(
        Folder(course, every).attempts(EVERY[key]) == 1 for key in ("e05_sums_and_shapes", "e06_unbroadcast", "e10_softmax")
    )


def test_persons_whose_folders_have_one_name(course, tmp_path, capsys):
    for name in ("a", "b"):
        said(capsys, "start", f"class/{name}/submission")
    rows = json.loads(said(capsys, "grade", "class/a/submission", "class/b/submission/", "--json"))["rows"]
    assert {row["person"] for row in rows} == {"class/a/submission", "class/b/submission"}
    assert "course is named twice" in said(capsys, "grade", "course", "./course/", code=2)


def test_ranges_and_files_name_exercises_too(course, capsys):
    out = said(capsys, "check", "3-5", "course/e07_matmul.py", code=1)
    assert [line[:2] for line in out.splitlines()] == ["03", "04", "05", "07"]


def test_json(course, capsys):
    solve(course, "e10_softmax", *WRONG_SUM)
    (row,) = json.loads(said(capsys, "check", "e10", "--json", code=1))["exercises"]
    assert row["verdict"] == "wrong"
    assert row["attempts"] == 1
    assert row["seed"] == 0
    assert 0 < row["worst_error"] < 100
    assert len(row["sha256"]) == 64


def test_grading_a_class(course, tmp_path, capsys):
    said(capsys, "start", "bob", "--language", "zh")
    solve(course, "e10_softmax")
    solve(tmp_path / "bob", "e10_softmax", *WRONG_SUM)
    out = said(capsys, "grade", "course", "bob")
    assert f"course: 1 of {len(EVERY)} right" in out
    assert f"bob：{len(EVERY)} 题中 0 题正确" in out
    assert "每一行" in out
    rows = json.loads(said(capsys, "grade", "course", "bob", "--json", "--seed", "7"))["rows"]
    assert len(rows) == 2 * len(EVERY)
    found = {row["person"]: row for row in rows if row["exercise"] == "e10_softmax"}
    assert [found[name]["verdict"] for name in ("course", "bob")] == ["right", "wrong"]
    assert {row["seed"] for row in rows} == {7}
    assert not json.loads((course / "course.json").read_text())["exercises"], "grading is no attempt"


def test_solutions_are_a_course_that_is_right(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert f"{len(EVERY)} solutions written" in said(capsys, "solutions", "answers")
    assert "06 unbroadcast: right" in said(capsys, "check", "6", "8", "--folder", "answers")
    assert "is a learner's folder" in said(capsys, "solutions", "answers", code=2)


def test_the_page_of_an_op_that_is_wrong(course, capsys):
    solve(course, "e10_softmax", *WRONG_SUM)
    assert "e10_softmax.html: " in said(capsys, "lab", "10")
    page = (course / "e10_softmax.html").read_text("utf-8")
    assert "VJP Lab" in page
    assert "a page shows a pair of functions" in said(capsys, "lab", "6", code=2)
    (course / "e10_softmax.py").write_text("raise RuntimeError('no')\n")
    assert "no page of it can be made: RuntimeError: no" in said(capsys, "lab", "10", code=2)


def test_watching(course, capsys, monkeypatch):
    """A file is saved, and checked; then Ctrl-C."""
    from types import SimpleNamespace

    import gpt2.course.actions as actions

    waits = iter(range(3))

    def sleep(_):
        turn = next(waits, None)
        if turn == 0:
            solve(course, "e06_unbroadcast")
        if turn is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(actions, "time", SimpleNamespace(sleep=sleep))
    assert main(["learn", "check", "6", "--watch"]) == 130
    out = capsys.readouterr().out
    assert out.index("06 unbroadcast: not written yet") < out.index("06 unbroadcast: right")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["check", "99"], "there is no exercise '99'; they go from 1 to"),
        (["chekc"], "there is no action 'chekc'; did you mean check?"),
        (["hint"], "hint: name one exercise; none was given"),
        (["grade"], "grade: name the folders"),
        (["check", "--out", "x"], "--out is for lab: leave it out"),
        (["show", "6"], "show takes nothing more; '6' was given"),
        (["check", "--folder", "nowhere"], "nowhere: no course is here; gpt2 learn start nowhere begins one"),
    ],
)
def test_refused(course, capsys, words, error):
    assert error in said(capsys, *words, code=2)


def test_no_course_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "no course is here: begin one with gpt2 learn start" in said(capsys, code=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: "{",
        lambda state: "[" * 100_000,
        lambda state: state.replace('"attempts": 1', '"attempts": "x"'),
        lambda state: state.replace('"attempts": 1', '"attempts": -1'),
        lambda state: state.replace(', "hints": 0', ""),
        lambda state: state.replace('"verdict": "wrong"', '"verdict": "odd"'),
        lambda state: state.replace('"why": [', '"why": [1, '),
        lambda state: state.replace('"language": "en"', '"language": "fr"'),
        lambda state: state.replace('"sha256": "', '"sha": "'),
    ],
)
def test_a_state_that_is_damaged(course, capsys, change):
    solve(course, "e10_softmax", *WRONG_SUM)
    said(capsys, "check", "10", code=1)
    state = (course / "course.json").read_text()
    (course / "course.json").write_text(json.dumps(json.loads(state)))
    damaged = change((course / "course.json").read_text())
    assert damaged != (course / "course.json").read_text()
    (course / "course.json").write_text(damaged)
    for words in ((), ("check", "10"), ("hint", "10")):
        assert "course.json cannot be read" in said(capsys, *words, code=2)
    (course / "course.json").unlink()
    assert "0 exercises written" in said(capsys, "start")
