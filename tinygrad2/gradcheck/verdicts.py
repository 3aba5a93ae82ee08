"""What a check says: one of four verdicts, a row for each input, and a table, a dictionary or an exit code of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tinygrad2.errors import counted
from tinygrad2.language import Say, padded, translation, width_of

RIGHT, UNDECIDABLE, INACCURATE, WRONG = "right", "undecidable", "inaccurate", "wrong"
ORDER = (RIGHT, UNDECIDABLE, INACCURATE, WRONG)
"""From the best to the worst: what is known to be off is worse than what is not known."""

HEADS = ("input", "shape", "analytic", "numeric", "rel. error")
WIDTHS = (14, 13, 13, 10)
"""Of its columns but the first."""
EXIT_CODES = {RIGHT: 0, WRONG: 1, UNDECIDABLE: 3, INACCURATE: 4}  # 2 is for commands that are not understood


def worst_of(verdicts: Any) -> str:
    """The worst of some verdicts."""
    return max(verdicts, key=ORDER.index)


@dataclass(frozen=True)
class InputCheck:
    """What the check found for one input; index, numbers and note are those of its worst entry."""

    name: str
    shape: tuple[int, ...]
    verdict: str
    error: float  # |analytic - numeric|, relative to the larger, or to a millionth of |f| (float32: a thousandth); 0 at a kink
    index: tuple[int, ...]  # of the output (of several: its number first), then of the input
    analytic: float
    numeric: float
    note: str = ""
    projected: bool = False  # the numbers are of one random direction through all entries


@dataclass(frozen=True, repr=False)
class GradcheckResult:
    """The verdict and one row per input; `str()` is a table.

    For tests: `gradcheck(...).assert_right()`, or `assert gradcheck(...)`: only *right* counts as true.
    """

    verdict: str
    rows: tuple[InputCheck, ...]
    note: str = ""
    gradient: str = ""  # whose it is

    @property
    def worst(self) -> InputCheck | None:
        """The input with the worst verdict, then the largest relative error; None where nothing was compared."""
        return max(self.rows, key=lambda row: (ORDER.index(row.verdict), row.error), default=None)

    @property
    def diagnosis(self) -> str:
        """What went wrong, in words; empty where nothing did."""
        notes = [self.note, *(row.note for row in self.rows if row.verdict != RIGHT)]
        return "; ".join(dict.fromkeys(filter(None, notes))) if self.verdict != RIGHT else ""

    @property
    def exit_code(self) -> int:
        """Of a command that ends with this result: 0 right, 1 wrong, 3 undecidable, 4 inaccurate."""
        return EXIT_CODES[self.verdict]

    def assert_right(self) -> None:
        """Raise AssertionError, with the table, unless the verdict is `right`."""
        if self.verdict != RIGHT:
            raise AssertionError(f"\n{self}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers that are not finite are text."""
        rows = [{key: _plain(value) for key, value in asdict(row).items()} for row in self.rows]
        worst = rows[self.rows.index(self.worst)] if self.worst else None
        said = {"verdict": self.verdict, "diagnosis": self.diagnosis, "note": self.note, "gradient": self.gradient}
        return {**said, "worst": worst, "inputs": rows}

    def __bool__(self) -> bool:
        return self.verdict == RIGHT

    def __repr__(self) -> str:
        """The table, or in one line what is not right, since of `assert gradcheck(...)` pytest shows one line."""
        row = self.worst
        if self.verdict == RIGHT or not row:
            return str(self)
        at = f"{list(row.index)} of {row.name}: {row.note}; {row.analytic:.6e} and not {row.numeric:.6e}"
        return f"<- {self.verdict} at {at}" if row.verdict == self.verdict else f"<- {self.verdict}: {self.note}"

    def _compared(self) -> str:
        """What was compared with differences, counted: entries, or one direction through all entries of an input."""
        one_by_one, together = ([row for row in self.rows if row.projected == kind] for kind in (False, True))
        parts = [counted(sum(math.prod(row.shape) for row in one_by_one), "entry")] * bool(one_by_one)
        if together:
            entries = sum(math.prod(row.shape) for row in together)
            parts.append(f"{counted(len(together), 'random direction')} through {counted(entries, 'entry')}")
        return " and ".join(parts)

    def _cells(self, say: Say) -> list[tuple[str, str, str, str, str, str]]:
        """The table: of each input its name, shape, both numbers, their error, and what is to be said."""
        cells = []
        for row in self.rows:
            mark = "" if row.verdict == RIGHT else "  " + say(f"<- {row.verdict} at {list(row.index)}")
            mark += f"{':' if mark else ' '} {say(row.note)}" if row.note else ""
            numbers = f"{row.analytic:.6e}", f"{row.numeric:.6e}", f"{row.error:.1e}"
            cells.append((row.name, str(row.shape), *numbers, mark))
        return cells

    def _end(self, say: Say) -> str:
        """The verdict, and what it is about."""
        if not self.worst:
            return f"{say(self.verdict)}: {say(self.note)}"
        end = say(f"worst relative error {self.worst.error:.1e} in {self.worst.name}")
        whose = say(f"the gradient of {self.gradient}" if self.gradient else "")
        return "; ".join(filter(None, [f"{say(self.verdict)}: {say(self._compared())}, {end}", whose, say(self.note)]))

    def __str__(self) -> str:
        say = translation("tinygrad2.gradcheck")
        if not self.worst:
            return self._end(say)
        width = max(5, *(width_of(row.name) for row in self.rows))
        lines = [
            "  ".join([padded(name, width), *(padded(one, wide, True) for one, wide in zip(rest, WIDTHS, strict=True))]) + mark
            for name, *rest, mark in ((*map(say, HEADS), ""), *self._cells(say))
        ]
        return "\n".join([*lines, self._end(say)])

    def _repr_html_(self) -> str:
        """In a notebook: the same table."""
        from tinygrad2.html import table

        say = translation("tinygrad2.gradcheck")
        return table((*map(say, HEADS), "") if self.rows else (), self._cells(say), note=self._end(say))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
