"""A learner's folder: one file for each exercise, and in course.json what was checked, how often, and which hints were read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygrad2.errors import TinygradError
from tinygrad2.files import write_atomically
from tinygrad2.study.course import runner
from tinygrad2.study.course.exercise import LANGUAGES, Exercise, Text
from tinygrad2.study.course.judging import BROKEN, RIGHT, UNWRITTEN, WRONG, Verdict

STATE = "course.json"


class Folder:
    """What one person has done. Raises TinygradError for a folder that is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            state = json.loads((path / STATE).read_text("utf-8"))
            self.language: str = state["language"]
            self._records: dict[str, dict[str, Any]] = state["exercises"]
            for record in self._records.values():
                Verdict.of(record["verdict"])
        except FileNotFoundError:
            raise TinygradError(f"{path}: no course is here; gpt2 learn start {path} begins one") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TinygradError(
                f"{path / STATE} cannot be read ({error}); delete it and run gpt2 learn start {path}: your exercises stay, the "
                "number of attempts is lost"
            ) from error

    @classmethod
    def start(cls, path: Path, exercises: Sequence[Exercise], language: str) -> list[str]:
        """Write what is not there yet, and nothing else; returns the names of the files written."""
        if language not in LANGUAGES:
            raise TinygradError(f"language {language!r}: choose {' or '.join(LANGUAGES)}")
        path.mkdir(parents=True, exist_ok=True)
        if not (path / STATE).exists():
            write_atomically(path / STATE, json.dumps({"language": language, "exercises": {}}).encode())
        language = cls(path).language
        new = [one for one in exercises if not (path / f"{one.key}.py").exists()]
        for one in new:
            write_atomically(path / f"{one.key}.py", one.start(language).encode())
        return [f"{one.key}.py" for one in new]

    def digest(self, exercise: Exercise) -> str:
        """The sha256 of the file of an exercise; empty where there is none."""
        try:
            return hashlib.sha256((self.path / f"{exercise.key}.py").read_bytes()).hexdigest()
        except OSError:
            return ""

    def verdict(self, exercise: Exercise) -> Verdict | None:
        """The last one, if the file is still the same; for a file as it was at the start, without a check."""
        record = self._records.get(exercise.key)
        digest = self.digest(exercise)
        if record and record["verdict"]["sha256"] == digest:
            return Verdict.of(record["verdict"])
        if digest in [hashlib.sha256(exercise.start(language).encode()).hexdigest() for language in LANGUAGES]:
            return Verdict(UNWRITTEN, sha256=digest)
        return None

    def attempts(self, exercise: Exercise) -> int:
        """How many different files were checked."""
        return int(self._records.get(exercise.key, {}).get("attempts", 0))

    def check(self, exercise: Exercise, seed: int = 0) -> runner.Checked:
        """The verdict on the file as it is now, which is kept."""
        untouched = self.verdict(exercise)
        if untouched and untouched.verdict == UNWRITTEN and exercise.key not in self._records:
            return runner.Checked(untouched, "")
        digest = self.digest(exercise)
        found = runner.check(exercise, self.path, seed)
        verdict = Verdict.of({**found.verdict.as_dict(), "sha256": digest})
        record = self._records.setdefault(exercise.key, {"attempts": 0, "hints": 0, "verdict": Verdict(UNWRITTEN).as_dict()})
        before = Verdict.of(record["verdict"])
        if digest != before.sha256:
            record["attempts"] += 1
        if (verdict.verdict, verdict.mistake, verdict.why) != (before.verdict, before.mistake, before.why):
            record["hints"] = 0
        record["verdict"] = verdict.as_dict()
        self._save()
        return runner.Checked(verdict, found.printed)

    def hint(self, exercise: Exercise) -> list[Text]:
        """Where it is wrong; asked again, why; and then which line. Empty where there is nothing to say."""
        verdict = self.verdict(exercise) or self.check(exercise).verdict
        if verdict.verdict == UNWRITTEN:
            return [exercise.idea]
        if verdict.verdict not in (WRONG, BROKEN):
            return []
        steps = [step for step in (verdict.where, verdict.why, verdict.line) if step.en]
        record = self._records[exercise.key]
        record["hints"] = min(record["hints"] + 1, len(steps))
        self._save()
        return steps[: record["hints"]]

    def row(self, exercise: Exercise, verdict: Verdict, seed: int) -> dict[str, Any]:
        """One line for a grader: who, what, how it stands."""
        hint = verdict.why if verdict.why.en else verdict.where
        return {
            "person": self.path.resolve().name,
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

    def _save(self) -> None:
        state = {"language": self.language, "exercises": self._records}
        write_atomically(self.path / STATE, json.dumps(state, ensure_ascii=False, indent=1).encode())
