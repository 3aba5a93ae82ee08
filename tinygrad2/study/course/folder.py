"""A learner's folder: one file for each exercise, and in course.json what was checked, how often, and which hints were read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygrad2.errors import TinygradError
from tinygrad2.files import write_atomically
from tinygrad2.study.course import runner
from tinygrad2.study.course.exercise import LANGUAGES, Exercise, Text
from tinygrad2.study.course.judging import BROKEN, RIGHT, UNWRITTEN, WRONG, Verdict

STATE = "course.json"


@dataclass
class Record:
    """What is kept of one exercise."""

    verdict: Verdict
    files: str = ""  # the digest of its file and of those that it imports, as they were
    attempts: int = 0
    hints: int = 0

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Record:
        """From JSON. Raises ValueError, KeyError or TypeError for what is none."""
        files, attempts, hints = kept["files"], kept["attempts"], kept["hints"]
        if not (isinstance(files, str) and type(attempts) is type(hints) is int and attempts >= 0 and hints >= 0):
            raise ValueError(f"{kept!r:.80} is no record")
        return cls(Verdict.of(kept["verdict"]), files, attempts, hints)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"verdict": self.verdict.as_dict(), "files": self.files, "attempts": self.attempts, "hints": self.hints}


class Folder:
    """What one person has done of some exercises. Raises TinygradError for a folder that is none."""

    def __init__(self, path: Path, exercises: Sequence[Exercise]) -> None:
        self.path, self.exercises = path, {one.key: one for one in exercises}
        self.language, self._records = self._read()

    def _read(self) -> tuple[str, dict[str, Record]]:
        file = self.path / STATE
        if not file.is_file():
            raise TinygradError(f"{self.path}: no course is here; gpt2 learn start {self.path} begins one")
        try:
            state = json.loads(file.read_text("utf-8"))
            if state["language"] not in LANGUAGES:
                raise ValueError(f"{state['language']!r} is none of its languages")
            return state["language"], {key: Record.of(kept) for key, kept in state["exercises"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TinygradError(
                f"{file} cannot be read ({type(error).__name__}: {error}); delete it and run gpt2 learn start {self.path}: "
                "your exercises stay, the number of attempts is lost"
            ) from error

    @classmethod
    def start(cls, path: Path, exercises: Sequence[Exercise], language: str) -> list[str]:
        """Write what is not there yet, and nothing else; returns the names of the files written."""
        if language not in LANGUAGES:
            raise TinygradError(f"language {language!r}: choose {' or '.join(LANGUAGES)}")
        path.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path / STATE):
            write_atomically(path / STATE, json.dumps({"language": language, "exercises": {}}).encode())
        language = cls(path, exercises).language
        new = [one for one in exercises if not os.path.lexists(path / f"{one.key}.py")]
        for one in new:
            write_atomically(path / f"{one.key}.py", one.start(language).encode())
        return [f"{one.key}.py" for one in new]

    def digest(self, exercise: Exercise) -> str:
        """The sha256 of the file of an exercise; empty where there is none."""
        path = self.path / f"{exercise.key}.py"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def _files(self, exercise: Exercise) -> str:
        """The same of its file and all that it imports: a verdict holds as long as these are what they were."""
        reached, waiting = {exercise.key}, [exercise]
        while waiting:
            new = [key for key in waiting.pop().needs if key in self.exercises and key not in reached]
            reached |= {*new}
            waiting += [self.exercises[key] for key in new]
        return hashlib.sha256("".join(self.digest(self.exercises[key]) for key in sorted(reached)).encode()).hexdigest()

    def is_untouched(self, exercise: Exercise) -> bool:
        """Whether a file is as it was at the start."""
        return self.digest(exercise) in [hashlib.sha256(exercise.start(one).encode()).hexdigest() for one in LANGUAGES]

    def verdict(self, exercise: Exercise) -> Verdict | None:
        """The last one, if all files are still the same; for a file as it was at the start, without a check."""
        if self.is_untouched(exercise):
            return Verdict(UNWRITTEN, sha256=self.digest(exercise))
        record = self._records.get(exercise.key)
        return record.verdict if record and record.files == self._files(exercise) else None

    def attempts(self, exercise: Exercise) -> int:
        """How many different files were checked."""
        return self._records[exercise.key].attempts if exercise.key in self._records else 0

    def check(self, exercise: Exercise, seed: int = 0) -> runner.Checked:
        """The verdict on the file as it is now, which is kept."""
        digest, files = self.digest(exercise), self._files(exercise)
        if self.is_untouched(exercise):
            return runner.Checked(Verdict(UNWRITTEN, sha256=digest), "")
        found = runner.check(exercise, self.path, seed)
        verdict = replace(found.verdict, sha256=digest)
        with self._changed():
            record = self._records.setdefault(exercise.key, Record(Verdict(UNWRITTEN)))
            before = record.verdict
            record.attempts += digest != before.sha256
            if (verdict.verdict, verdict.mistake, verdict.why) != (before.verdict, before.mistake, before.why):
                record.hints = 0
            record.verdict, record.files = verdict, files
        return runner.Checked(verdict, found.printed)

    def hint(self, exercise: Exercise) -> list[Text]:
        """Where it is wrong; asked again, why; and then which line. Empty where there is nothing to say."""
        verdict = self.verdict(exercise) or self.check(exercise).verdict
        if verdict.verdict == UNWRITTEN:
            return [verdict.where, exercise.idea] if verdict.where.en else [exercise.idea]
        if verdict.verdict not in (WRONG, BROKEN):
            return []
        steps = [step for step in (verdict.where, verdict.why, verdict.line) if step.en]
        with self._changed():
            record = self._records[exercise.key]
            record.hints = min(record.hints + 1, len(steps))
        return steps[: record.hints]

    @contextlib.contextmanager
    def _changed(self) -> Iterator[None]:
        """Read what others have written meanwhile, change it, and write it, before they can."""
        with _locked(self.path):
            self.language, self._records = self._read()
            yield
            kept = {key: record.as_dict() for key, record in self._records.items()}
            state = {"language": self.language, "exercises": kept}
            write_atomically(self.path / STATE, json.dumps(state, ensure_ascii=False, indent=1).encode())

    def row(self, exercise: Exercise, verdict: Verdict, seed: int, person: str = "") -> dict[str, Any]:
        """One line for a grader: who (by default the name of the folder), what, how it stands."""
        hint = verdict.why if verdict.why.en else verdict.where
        return {
            "person": person or self.path.resolve().name,
            "exercise": exercise.key,
            "verdict": verdict.verdict,
            "right": verdict.verdict == RIGHT,
            "where": verdict.where.of(self.language),
            "hint": hint.of(self.language),
            "worst_error": verdict.error,
            "attempts": self.attempts(exercise),
            "seed": seed,
            "sha256": verdict.sha256 or self.digest(exercise),
        }


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time, where there are such locks."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
