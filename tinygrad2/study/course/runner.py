"""Checks one exercise in a process of its own, whose time, memory and output are limited."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import tinygrad2
from tinygrad2.errors import TinygradError
from tinygrad2.study.course.exercise import Exercise, Text
from tinygrad2.study.course.judging import BROKEN, Verdict

MEMORY = 4 << 30
"""Bytes of addresses that a check may take; NumPy and its libraries alone reserve more than one GB."""
PRINTED = 1 << 20
"""Bytes that a learner's code may print in one check."""


@dataclass(frozen=True)
class Checked:
    """A verdict, and what the learner's code printed meanwhile."""

    verdict: Verdict
    printed: str


def check(exercise: Exercise, folder: Path, seed: int) -> Checked:
    """The verdict on a learner's file. Whatever the code does, this comes back: with one clear line."""
    found, why, printed = _run("check", exercise, folder, seed)
    try:
        return Checked(Verdict(BROKEN, why) if found is None else Verdict.of(found), printed)
    except (ValueError, KeyError, TypeError):
        return Checked(Verdict(BROKEN, Text("the check gave no answer that can be read", "检查没有给出可读的结果")), printed)


def page(exercise: Exercise, folder: Path, seed: int, path: Path) -> int:
    """Write the lab's page of a learner's op, and return its size in bytes. Raises TinygradError where there is none."""
    found, why, _ = _run("page", exercise, folder, seed, path.resolve())
    if found is None or "refused" in found:
        raise TinygradError(f"exercise {exercise.number}: {why.en if found is None else found['refused']}")
    return int(found["size"])


def _run(task: str, exercise: Exercise, folder: Path, seed: int, *more: Path) -> tuple[dict[str, Any] | None, Text, str]:
    """What `child` found out, or None and why not; and what was printed."""
    with tempfile.TemporaryDirectory(prefix="learn-") as made:
        result = Path(made) / "result"
        words = [task, exercise.package, exercise.key, folder.resolve(), seed, exercise.seconds, MEMORY, result, *more]
        child = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-m", "tinygrad2.study.course.child", *map(str, words)],
            cwd=made,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it starts ends with it
        )
        output = _Output(child)
        try:
            code = child.wait(exercise.seconds + 30)  # it ends itself, unless its watchdog was turned off
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
            printed = output.text()
        if output.too_much:
            said = Text(f"it printed more than {PRINTED >> 20} MB; print less", f"输出超过 {PRINTED >> 20} MB；请减少输出")
            return None, said, printed[:2000]
        try:
            return json.loads(result.read_text("utf-8")), Text("", ""), printed
        except (OSError, ValueError):
            return None, _ended(code, Path(f"{result}.stack"), exercise), printed


def _environment() -> dict[str, str]:
    """As here, with this package found first, and one thread for each product of matrices."""
    here = str(Path(tinygrad2.__file__).parents[1])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process, and all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


class _Output:
    """What a process prints, up to a limit; beyond it the process is ended."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child, self.kept, self.too_much = child, bytearray(), False
        assert child.stdout
        self.reader = threading.Thread(target=self._read, args=(child.stdout,), daemon=True)
        self.reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while block := stream.read1(1 << 16):  # type: ignore[attr-defined]
                self.kept += block[: PRINTED - len(self.kept)]
                if len(self.kept) >= PRINTED:
                    self.too_much = True
                    _end(self.child)
                    return

    def text(self) -> str:
        """All that was printed."""
        self.reader.join(1)
        return self.kept.decode("utf-8", "replace")


def _ended(code: int | None, stack: Path, exercise: Exercise) -> Text:
    """Why there is no verdict."""
    try:
        lines = re.findall(r'File "(.+)", line (\d+) in (.+)', stack.read_text("utf-8", "replace"))
    except OSError:
        lines = []
    if lines or code is None:
        own = [(Path(f).name, n, name) for f, n, name in lines if re.fullmatch(r"e\d\d_\w+\.py", Path(f).name)]
        at = f" ({own[0][0]}, line {own[0][1]}, in {own[0][2]})" if own else ""
        after = f"{exercise.seconds:g}"
        return Text(
            f"it did not end within {after} s{at}; is there a loop without an end, or is it slow?",
            f"{after} 秒内没有结束{at}；是否有死循环，或者太慢？",
        )
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Text(f"the program ended with {how} before the check did", f"程序在检查完成之前以 {how} 退出")
