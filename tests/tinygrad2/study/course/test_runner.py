"""Whatever a learner's code does, a check comes back with one clear line."""

import os
import time
from dataclasses import replace

import pytest
from solved import EVERY

from tinygrad2.study.course.judging import BROKEN, MISSING, RIGHT, WRONG
from tinygrad2.study.course.runner import check

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")]

ONE = replace(EVERY["e06_unbroadcast"], seconds=4.0)
BODIES = {
    "no return": ("pass", WRONG, "it is None; expected array (3,)"),
    "a text": ("return 'a'", WRONG, "it is 'a'; expected array (3,)"),
    "an object": ("return object()", WRONG, "it is of type object; expected numbers"),
    "complex": ("return np.zeros(shape) * 1j", WRONG, "it is of type ndarray of complex128; expected numbers"),
    "a huge number": ("return 10**400", WRONG, "it is of type int"),
    "a generator": ("yield 1", WRONG, "it is of type generator"),
    "lists of lists": ("return [[1, 2], [3]]", WRONG, "it gives (2 numbers, 1 numbers); expected array (3,)"),
    "float32": ("return np.zeros(shape, np.float32)", WRONG, "the dtype is float32; expected float64"),
    "another shape": ("return np.zeros((7,))", WRONG, "the shape is (7,); expected (3,)"),
    "NaN": ("return np.full(shape, np.nan)", WRONG, "[0] is nan; expected"),
    "a write into an input": (
        "g += 1\n    return g",
        BROKEN,
        "do not write into an input: make a new array (in unbroadcast, e06_unbroadcast.py, line 3: g += 1)",
    ),
    "an endless loop": ("while True:\n        pass", BROKEN, "did not end within 4 s (e06_unbroadcast.py, line"),
    "sleep": ("import time\n    time.sleep(99)", BROKEN, "did not end within 4 s (e06_unbroadcast.py, line 4, in unbroadcast)"),
    "sys.exit": ("import sys\n    sys.exit(3)", BROKEN, "sys.exit: 3; return a value instead"),
    "os._exit": ("import os\n    os._exit(0)", BROKEN, "the program ended with exit code 0 before the check did"),
    "a crash": ("import os\n    os.kill(os.getpid(), 11)", BROKEN, "the program ended with signal 11"),
    "a gigabyte of output": ("while True:\n        print('x' * 1000)", BROKEN, "it printed more than 1 MB"),
    "64 GB": ("return np.ones((1 << 33,))", BROKEN, "asks for more memory than a check may take"),
    "recursion": ("return unbroadcast(g, shape)", BROKEN, "a function calls itself too often: use a loop"),
    "a syntax error": ("return (", BROKEN, "SyntaxError: '(' was never closed (e06_unbroadcast.py, line 3)"),
    "another error": ("raise ValueError('boo\\nhoo')", BROKEN, "ValueError: boo (in unbroadcast, e06_unbroadcast.py, line 3"),
    "a thread that goes on": (
        "import threading\n    if threading.active_count() == 1:\n"
        "        threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
        WRONG,
        "None",
    ),
    "a process that goes on": ("import subprocess\n    subprocess.Popen(['sleep', '60'])", WRONG, "None"),
}


@pytest.mark.parametrize("what", BODIES)
def test_hostile_code(what, tmp_path):
    body, verdict, said = BODIES[what]
    (tmp_path / "e06_unbroadcast.py").write_text(f"import numpy as np\ndef unbroadcast(g, shape):\n    {body}\n")
    start = time.monotonic()
    found = check(ONE, tmp_path, 0)
    assert (found.verdict.verdict, said in found.verdict.where.en) == (verdict, True), found
    assert "\n" not in found.verdict.where.en
    assert len(found.printed) <= 1 << 20
    assert time.monotonic() - start < 30  # and not the minute of the process that goes on


def test_names_of_the_standard_library_in_a_folder_do_no_harm(tmp_path):
    for name in ("json", "random", "numpy", "tinygrad2", "inspect"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not this one')\n")
    (tmp_path / "e06_unbroadcast.py").write_text(ONE.solved("en"))
    assert check(ONE, tmp_path, 0).verdict.verdict == RIGHT


def test_what_is_printed_comes_back(tmp_path):
    (tmp_path / "e06_unbroadcast.py").write_text(ONE.solved("en") + "\nprint('梯度')\n")
    assert check(ONE, tmp_path, 0).printed == "梯度\n"


def test_no_file(tmp_path):
    assert check(ONE, tmp_path, 0).verdict.verdict == MISSING


def test_a_name_that_is_gone(tmp_path):
    (tmp_path / "e06_unbroadcast.py").write_text("def other():\n    pass\n")
    found = check(ONE, tmp_path, 0).verdict
    assert "e06_unbroadcast.py has no unbroadcast" in found.where.en
