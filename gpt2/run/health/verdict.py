"""What a rule says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What was found: `seen` has the numbers; the cause and the remedy are empty where all is well."""

    name: str
    level: str  # ok, info, warning or error
    seen: str
    cause: str = ""
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether something should be done."""
        return self.level in ("warning", "error")


def listed(names: Sequence[str]) -> str:
    """Some names; of many, the first four."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
