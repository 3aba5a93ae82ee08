"""What is said in English, said in another language: at the door, when it is shown.

The code knows English alone. What it says is made of strings and f-strings, and these are the keys of a catalogue, `zh.json`
beside the code of a package: "the loss is {0}" for f"the loss is {value:.3f}". `translation` finds the key that a finished text
was made by, and says it in the other language with the same numbers and names. A text for which there is no key stays as it
is. tests/test_language.py reads the keys from the sources: none may lack, and none may be left over.
"""

from __future__ import annotations

import functools
import json
import os
import re
import unicodedata
from collections.abc import Callable
from contextvars import ContextVar
from importlib.resources import files

from tinygrad2.errors import TinygradError

LANGUAGES = ("en", "zh")
VARIABLE = "TINYGRAD2_LANGUAGE"
"""The environment variable that names one of them."""

LANGUAGE: ContextVar[str | None] = ContextVar("LANGUAGE", default=None)
"""The language that was asked for; else it is that of the environment."""

Say = Callable[[str], str]


def chosen() -> str:
    """One of `LANGUAGES`: what was asked for, or the environment says, or English. Raises TinygradError for another."""
    found = LANGUAGE.get() or os.environ.get(VARIABLE) or "en"
    if found not in LANGUAGES:
        raise TinygradError(f"{VARIABLE}={found}: choose {' or '.join(LANGUAGES)}")
    return found


def translation(package: str) -> Say:
    """What says a text of a package in the chosen language; in English it stays as it is."""
    return str if chosen() == "en" else _translator(package)


@functools.cache
def _translator(package: str) -> Translator:
    return Translator(catalogue(package))


@functools.cache
def catalogue(package: str) -> dict[str, str]:
    """The texts of a package in English and in Chinese."""
    found: dict[str, str] = json.loads((files(package) / "zh.json").read_text("utf-8"))
    return found


def script(package: str) -> str:
    """JavaScript for a page of this package: language.js with the catalogue, and the chosen language to begin with.

    It comes before the scripts that draw the page, and knows nothing of them.
    """
    given = {"texts": catalogue(package), "tail": TAIL, "chosen": chosen()}
    data = json.dumps(given, ensure_ascii=False).replace("<", "\\u003c")
    return (files("tinygrad2") / "language.js").read_text("utf-8").replace("LANGUAGE_DATA", data)


WORD = re.compile(r"[A-Za-z]{2}")
FIELD = re.compile(r"\{(\d+)\}")
TAIL = (",", ":", "(", "and ")
"""How a key begins that is said behind another."""
SIGN = re.compile(r"( \*\*? | / )")
COMMA = re.compile(r", (?![^\[(]*[\])])")
"""Not within brackets."""
NAMES = re.compile(r"[^\s,]+(, [^\s,]+)*")
"""Names, that is, no two words."""


class Translator:
    """Says texts by a catalogue. language.js does the same in a page.

    A text is taken line by line and clause by clause, as "; " divides it. A clause is a key, or one with its fields filled
    in, or a list of such; what stands in a field is translated likewise. Where a clause can be read in two ways, that is taken
    in which all of it is known.
    """

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts
        self.known: dict[tuple[str, bool], str | None] = {}
        templates = sorted((key for key in texts if FIELD.search(key) or key.startswith(TAIL)), key=_order)
        self.tight, self.loose = ([(pattern(key, tight), texts[key]) for key in templates] for tight in (True, False))

    def __call__(self, text: str) -> str:
        """The text in the other language, as far as it is known; spaces around a line stay."""
        return "\n".join(self._line(line) for line in text.split("\n")) if WORD.search(text) else text

    def _line(self, line: str) -> str:
        bare = line.strip()
        found = "；".join(self._clause(clause, True) or self._clause(clause, False) or clause for clause in bare.split("; "))
        return line.replace(bare, found) if bare else line

    def _clause(self, text: str, whole: bool) -> str | None:
        """A clause by a key; None where there is none or, of the `whole`, where some of it is not known."""
        if (text, whole) not in self.known:
            self.known[text, whole] = self._found(text, whole)
        return self.known[text, whole]

    def _found(self, text: str, whole: bool) -> str | None:
        return (
            self.texts.get(text)
            or self._filled(self.tight, text, whole)
            or self._listed(text, whole)
            or self._ended(text, whole)
            or self._filled(self.loose, text, whole)
            or (self._clause(text[0].lower() + text[1:], whole) if text[:1].isupper() else None)  # it begins a sentence
        )

    def _part(self, text: str, whole: bool) -> str | None:
        """What stands in a field: a clause, names or numbers; if not `whole`, also what is not known."""
        if not WORD.search(text) or NAMES.fullmatch(text):
            return self.texts.get(text, text)
        return self._clause(text, whole) if whole else self(text)

    def _filled(self, patterns: list[tuple[re.Pattern[str], str]], text: str, whole: bool) -> str | None:
        for form, said in patterns:
            if match := form.fullmatch(text):
                fields = {name: self._part(part.strip(), whole) for name, part in match.groupdict().items()}
                if None not in fields.values():
                    return (fields.get("head") or "") + FIELD.sub(lambda n, f=fields: f[f"f{n[1]}"], said)  # type: ignore[misc]
        return None

    def _listed(self, text: str, whole: bool) -> str | None:
        """A list or a product of clauses, sentences, or one behind what it is about."""
        parts = COMMA.split(text) if ", " in text else []
        known = [self._clause(part, whole) for part in parts] if len(parts) > 1 else []
        if any(known) and (all(known) or not whole):
            return "，".join(part or before for part, before in zip(known, parts, strict=True))
        for found in re.finditer("(: )|([.?]) ", text):
            before = text[: found.start()] + (found[2] or "")
            head = self._clause(before, whole) if found[2] else self._part(before, whole)
            tail = self._clause(text[found.end() :], whole)
            if head is not None and tail is not None:
                return f"{head}{'：' if found[1] else ''}{tail}"
        factors = SIGN.split(text) if SIGN.search(text) else []
        product = [factor if i % 2 else self._part(factor, whole) for i, factor in enumerate(factors)]
        return "".join(factor for factor in product if factor) if None not in product and product != factors else None

    def _ended(self, text: str, whole: bool) -> str | None:
        ended = self._clause(text[:-1], whole) if text.endswith(".") else None
        return ended and f"{ended}。"


def _order(key: str) -> tuple[bool, int]:
    """Which key is tried first: one behind another, then what has more text."""
    return not key.startswith(TAIL), -len(FIELD.sub("", key))


def pattern(key: str, tight: bool) -> re.Pattern[str]:
    """What a text made by this key looks like; where it is `tight`, no field holds a comma. A tail may have a head."""
    field = r"(?:(?!, ).)*?" if tight else r".*?"
    parts = FIELD.split(key)
    text = "".join(f"(?P<f{part}>{field})" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re.compile((rf"(?P<head>{field})\s*" if key.startswith(TAIL) else "") + text)


def width_of(text: str) -> int:
    """Columns on a terminal: Chinese, Japanese and Korean characters and emoji take two, marks on a character none."""
    marks = ("Mn", "Me", "Cf")
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text if unicodedata.category(c) not in marks)


def padded(text: str, width: int, right: bool = False) -> str:
    """A text with spaces up to so many columns: behind it, or before it if it is to end at the right."""
    space = " " * (width - width_of(text))
    return space + text if right else text + space
