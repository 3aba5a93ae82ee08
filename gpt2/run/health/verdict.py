"""What a rule says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinygrad2.html import table
from tinygrad2.language import Say, translation

LONG = re.compile(r"-?\d{16,}(\.\d+)?")
"""A number that nobody could read; a log may hold any."""


@dataclass(frozen=True)
class Verdict:
    """One finding: `seen` has the numbers and `usual` those of a healthy run; where all is well nothing follows from them."""

    name: str
    level: str  # ok, info, warning or error
    seen: str
    usual: str = ""
    cause: str = ""
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether something should be done."""
        return self.level in ("warning", "error")

    def lines(self, say: Say = str) -> list[str]:
        """As it is shown."""
        seen = LONG.sub(lambda number: digits(float(number[0])), self.seen)
        found = f"{say(self.name)}: {say(seen)}" + f" ({say('usual')}: {say(self.usual)})" * bool(self.usual)
        why = [f"{say('likely')}: {say(self.cause)}", f"{say('try')}: {say(self.remedy)}"]
        return [found, *why] if self.is_problem else [found]


class Verdicts(list[Verdict]):
    """Findings, the worst first."""

    def _repr_html_(self) -> str:
        """In a notebook: a table, with what to do where something is wrong."""
        say = translation("gpt2.run.health")
        rows = [(say(one.level), *(found := one.lines(say)), *[""] * (3 - len(found))) for one in self]
        return table((say("level"), say("finding"), "", ""), rows)


def check(name: str, wrong: bool, seen: str, usual: str, cause: str, remedy: str, level: str = "error") -> Verdict:
    """The verdict of this level where something is wrong, else an ok."""
    return Verdict(name, level, seen, usual, cause, remedy) if wrong else Verdict(name, "ok", seen, usual)


def listed(names: Sequence[str]) -> str:
    """Some names; of many, the first four."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def digits(value: float) -> str:
    """A number in three digits: 0.179, 7,610, 3.7e+10."""
    return f"{float(f'{value:.3g}'):,g}"


def percent(share: float) -> str:
    """A share in two digits: 0.003%, 8.4%, 120%."""
    return f"{float(f'{100 * share:.2g}'):g}%"
