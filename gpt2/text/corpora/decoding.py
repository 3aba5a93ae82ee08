"""Bytes into text, one block after another: UTF-8, or the encoding that a byte-order mark or whoever trains names."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gpt2.errors import DataError

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # which begins with that of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}
"""What a byte-order mark at the beginning of a file says of its encoding."""

IN_USE = [
    *("utf_8", "utf_16_le", "utf_16_be", "gb18030", "big5hkscs", "cp932", "euc_jp", "iso2022_jp", "cp949", "koi8_r", "koi8_u"),
    *("cp866", "cp874", "mac_roman", "mac_cyrillic", *(f"cp125{i}" for i in range(9))),
    *(f"iso8859_{i}" for i in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
]
"""The encodings that are looked for: those that browsers read (the Encoding Standard of the WHATWG)."""

SAMPLE = 1 << 15
"""Bytes of which another encoding is found."""

LEAST = 16
"""Bytes from which on one is looked for: of fewer, hundreds of encodings make something."""

SHOWN = 12
"""Characters on each side of a place that show how an encoding reads it."""


class NotTextError(DataError):
    """A file that holds something else, or text in another encoding. `sample` is a part of it, with what is wrong at `at`."""

    def __init__(self, path: Path, what: str, sample: bytes, at: int) -> None:
        super().__init__(f"{path}: {what}")
        self.sample, self.at = sample, at

    def hint(self) -> str:
        """The likeliest encodings, and how each reads the place; nothing for what seems to be no text.

        It takes a while to find out, so that only who shows it asks.
        """
        found = [f"--encoding {name} would read {text!r}" for name, text in likely(self.sample, self.at)]
        return f"; {' and '.join(found)} there" if found else ""

    def __str__(self) -> str:
        return super().__str__() + self.hint()


def likely(content: bytes, at: int) -> list[tuple[str, str]]:
    """The one or two likeliest encodings of a part of a file, and how each reads the place `at`, or the first where these
    two differ; none of what is too short to say, or seems to be no text."""
    from charset_normalizer import from_bytes  # only where a text is refused

    begin = max(0, at - SAMPLE // 2) // 4 * 4
    if b"\0" not in content[at : at + SAMPLE]:  # which UTF-16 has, where a new line is two bytes
        begin = max(begin, content.rfind(b"\n", begin, at) + 1)
    sample = content[begin : begin + SAMPLE]
    if len(sample) < LEAST:
        return []
    for spare in range(4):  # it may end in the middle of a character
        matches = from_bytes(sample[: len(sample) - spare], cp_isolation=IN_USE)
        if found := [match for match in matches if match.encoding.startswith("utf_16") == (b"\0" in sample)]:
            break
    else:
        return []
    found = [match for match in found if match.coherence >= found[0].coherence / 2]  # how much each is like a language
    if not found[0].multi_byte_usage:  # a letter is a byte, and of encodings that may all be right one is in most texts
        found.sort(key=lambda match: "cp1252" not in match.could_be_from_charset)
    found = found[:2]
    first, last = str(found[0]), str(found[-1])
    place = len(sample[: at - begin].decode(found[0].encoding, "ignore"))
    place = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), place)
    shown = slice(max(0, place - SHOWN), place + SHOWN)
    # Of encodings that read the sample alike, the one that most texts have.
    names = ["cp1252" if "cp1252" in match.could_be_from_charset else match.encoding.replace("_", "-") for match in found]
    return [(name, str(match)[shown]) for name, match in zip(names, found, strict=True)]


def marked(beginning: bytes) -> str | None:
    """The encoding that a byte-order mark names, if there is one."""
    return next((name for mark, name in MARKS.items() if beginning.startswith(mark)), None)


def decoded(blocks: Iterable[bytes], path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Bytes to text, of blocks that may end in the middle of a character; without a byte-order mark.

    A mark comes before `encoding`. Raises NotTextError for what is not text so, or has a zero byte.
    """
    rest = iter(blocks)
    first = b""
    while len(first) < 4 and (block := next(rest, b"")):
        first += block
    mark = marked(first)
    name = mark or encoding
    kind = codecs.lookup(name).name
    if first and not mark and kind in ("utf-16", "utf-32"):
        raise DataError(f"{path}: has no byte-order mark; give --encoding {kind}-le, as on Windows, or --encoding {kind}-be")
    decoder = codecs.getincrementaldecoder(name)()
    offset = 0  # of the block in the file
    for block in itertools.chain([first], rest, [b""]):
        waiting = len(decoder.getstate()[0])  # bytes of a character that the block before began
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            what = f"not {name.upper()} text"
            if not isinstance(error, UnicodeDecodeError):  # punycode does not say where
                raise NotTextError(path, what, block, 0) from None
            bad, at = error.object[error.start], offset - waiting + error.start
            raise NotTextError(path, f"{what} (byte {bad:#04x} at offset {at})", error.object, error.start) from None
        if "\0" in text:
            at = max(0, block.find(0))
            raise NotTextError(path, f"a binary file (a zero byte at offset {offset + at}), not text", block, at)
        if offset - waiting == 0:
            text = text.removeprefix("\ufeff")
        offset += len(block)
        yield text


def unix_newlines(texts: Iterable[str]) -> Iterator[str]:
    r"""`\n` for `\r\n`, also where a text ends between the two. A `\r` alone stays."""
    held = ""
    for text in texts:
        text = held + text
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix("\r").replace("\r\n", "\n")
    yield held


def pieces(texts: Iterable[str], size: int) -> Iterator[str]:
    """The same text in pieces of about `size` characters, each encoded as it is in the whole.

    A piece ends before a space or a newline that follows neither. There a token of GPT-2's ends whatever follows: none of
    its patterns goes on from a character that is not white space to one that is, and none looks back. Where there is no
    such place in 4 `size` characters (a word of four million letters) the piece ends there: memory comes first.
    """
    waiting, searched = "", 0
    for text in texts:
        waiting += text
        if len(waiting) >= size:
            place = _LAST_PLACE.match(waiting, searched)
            end = place.end() if place else len(waiting) if len(waiting) >= 4 * size else 0
            if end:
                yield waiting[:end]
                waiting = waiting[end:]
            searched = max(0, len(waiting) - 1)  # there is no place before that
    if waiting:
        yield waiting


_LAST_PLACE = re.compile(r".*\S(?=[ \n])", re.DOTALL)
