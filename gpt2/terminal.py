"""What reaches a terminal: printable text only, and as long as there is somewhere to print it.

A model, a tokenizer, a file name or a text may hold what a terminal obeys: it moves the cursor, renames the window, answers
as if somebody had typed. `guarded` puts a `Stream` in the place of sys.stdout and sys.stderr, so that nobody who prints has
to think of it; our own colours and bars go through `styled` and `progress`.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

from gpt2.errors import GPT2Error
from tinygrad2.language import width_of

PLAIN = re.compile(r"[\n\t -~]*")
UNUSUAL = re.compile(r"[^\n\t -~]+")


class OutputError(GPT2Error):
    """What was to be shown could not be written."""


def printable(text: str) -> str:
    r"""The text with all that is not to be seen spelled out: \x1b, \r, \u202e, \udcff. New lines, tabs and spaces stay."""
    return text if PLAIN.fullmatch(text) else UNUSUAL.sub(lambda found: _spelled(found[0]), text)


def one_line(text: str) -> str:
    """As `printable`, and new lines and tabs are spelled out too: for a name within a line."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


UNIT = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\[nrt]|.", re.DOTALL)


def units(text: str) -> list[str]:
    """What no cut may go through, of a text that `one_line` has made: an escape, or a character with its marks."""
    found: list[str] = []
    for unit in UNIT.findall(text):
        if found and not width_of(unit):
            found[-1] += unit
        else:
            found.append(unit)
    return found


WIDE = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60"
WORDS = re.compile(f"( *)([^ {WIDE}]+|[^ ][\u3001\u3002\uff01\uff09\uff0c\uff1a\uff1b\uff1f\u201d]*)")
"""A blank or none, and what no line ends within: a word, or a Chinese character with the marks that may not begin a line."""


def wrapped(text: str, width: float, begin: str, indent: str) -> str:
    """A text in lines of so many columns: the first after `begin`, the others after `indent`."""
    lines = [begin]
    for space, word in WORDS.findall(text):
        if width_of(lines[-1] + space + word) > width and lines[-1] not in (begin, indent):
            lines.append(indent)
        lines[-1] += word if lines[-1] in (begin, indent) else space + word
    return "\n".join(lines)


def _spelled(part: str) -> str:
    if part.isprintable():
        return part
    shown = (c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode() for c in part)
    return "".join(shown).replace("\\x7f", "\\u007f")  # DEL alone may stand in JSON as it is, and JSON knows no \x7f


class Stream:
    """A text stream that escapes what is not printable, or not in its encoding.

    Where it cannot be written any more, it is lost: its descriptor then leads nowhere, so that nothing fails again, not
    even as the interpreter ends. With `lasting` that is all; else the first failure raises BrokenPipeError, where the reader
    has gone, or OutputError.
    """

    def __init__(self, inner: TextIO | None, name: str, lasting: bool) -> None:
        self.inner: TextIO = inner or io.StringIO()
        self.name, self.lasting, self.lost = name, lasting, inner is None
        self.unfiltered = Unfiltered(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write(self, text: str) -> int:
        """Write what `printable` makes of it."""
        return self.write_as_it_is(printable(text))

    def write_as_it_is(self, text: str) -> int:
        """Write a text, control characters and all."""
        if not text.isascii():
            encoding = self.inner.encoding or "utf-8"
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        self._attempt(lambda: self.inner.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what waits to be written."""
        self._attempt(self.inner.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self.lost:
            return
        try:
            action()
        except (OSError, ValueError) as error:  # ValueError: it has been closed
            self.lost = True
            with contextlib.suppress(OSError, ValueError):  # no descriptor, or closed
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.inner.fileno())
                os.close(null)
                self.inner.flush()
            reason = getattr(error, "strerror", None) or str(error)
            if not self.lasting:
                if isinstance(error, BrokenPipeError):
                    raise
                raise OutputError(f"{self.name} cannot be written: {reason}") from error
            if self.name == "standard output":
                say(f"gpt2: note: nothing more is shown: {self.name} cannot be written: {reason}", sys.stderr)


class Unfiltered:
    """The same stream for text that holds our own control characters."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.write = stream, stream.write_as_it_is

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """While this is open, sys.stdout and sys.stderr are Streams. What is lost on sys.stderr never counts."""
    before = sys.stdout, sys.stderr
    out, err = Stream(sys.stdout, "standard output", False), Stream(sys.stderr, "standard error", True)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield
    finally:
        out.lasting = True  # whoever wants to know whether all was written has asked `flush` before
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def outlive() -> None:
    """From now on, what cannot be shown is dropped."""
    if isinstance(sys.stdout, Stream):
        sys.stdout.lasting = True


def _unfiltered(stream: TextIO) -> Any:
    return stream.unfiltered if isinstance(stream, Stream) else stream


def styled(text: str) -> None:
    """Print a text with our own colours; what in it comes from elsewhere must have been through `printable`."""
    _unfiltered(sys.stdout).write(text + "\n")


BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
LEAST_BAR = 4


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this; IPython in a terminal is none. Nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def progress(quiet: bool = False, **settings: Any) -> Any:
    """A bar of tqdm with these settings on standard error, if that is a terminal and it is not to be `quiet`; in a notebook
    a bar of its own, where ipywidgets are installed, or else the same one.

    Unless they say otherwise, it comes after a second, and goes when all is done.
    """
    disable = True if quiet else None  # None: where there is no terminal
    if in_notebook():
        with warnings.catch_warnings(action="ignore"):  # that there are no ipywidgets
            from tqdm.auto import tqdm
        disable = quiet
    else:
        from tqdm import tqdm  # a tenth of the time in which a command starts

    return tqdm(file=_unfiltered(sys.stderr), disable=disable, **{"delay": 1, "leave": False, **settings})


def fitting(parts: Iterable[tuple[int, str]], room: float) -> str:
    """Parts of a line, apart by commas; where there is no room for all, those with the highest numbers are left out."""
    left = list(parts)
    while len(line := ", ".join(text for _, text in left)) > room and len(left) > 1:
        left.remove(max(left))
    return line


def room(bar: Any) -> float:
    """How many characters a bar that is drawn as `BAR` says leaves for what is said behind it."""
    about = bar.format_dict
    if not about["ncols"]:
        return math.inf
    bare = {**about, "bar_format": BAR.replace("{bar}", ""), "postfix": None, "ncols": None}
    return about["ncols"] - len(bar.format_meter(**bare)) - len(", ") - LEAST_BAR


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line at once, by default on standard output, above any bars."""
    from tqdm import tqdm

    with tqdm.external_write_mode(_unfiltered(sys.stderr)):
        print(text, file=stream, flush=True)


def note(message: str) -> None:
    """Say something that is no result, on standard error."""
    say(one_line(f"gpt2: note: {message}"), sys.stderr)
