"""What a corpus is: a name, and documents that can be read again and again without ever being in memory as a whole."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gpt2.cached import cached_property
from gpt2.terminal import progress
from gpt2.tokenizers.base import END_OF_TEXT
from tinygrad2.types import Array


@dataclass(frozen=True)
class Document:
    """A text.

    Args:
        pieces: the text in parts. They are cut where the tokens of a tokenizer end whatever follows, so that the tokens of
            the parts are those of the whole.
        nats: what each character costs a perfect model, -ln P(character | all before it), where the source of the text is
            known: float64 (characters,).
    """

    pieces: Iterable[str]
    nats: Array | None = None


@dataclass(frozen=True)
class Survey:
    """What one reading of a corpus tells.

    `sha256` is that of the text as UTF-8; of several documents, that of their digests (32 bytes each) one after another. `ends`
    is how often the name of the end-of-text token stands in it.
    """

    sha256: str
    characters: int
    digests: list[bytes]
    sizes: array[int]
    ends: int


@dataclass(frozen=True)
class Corpus:
    """Documents with a name. `documents()` starts from the first one each time; a document costs nothing until it is read."""

    name: str
    documents: Callable[[], Iterable[Document]]
    notes: tuple[str, ...] = ()
    """What whoever asked for it should know, such as files that were left out."""
    once: bool = False
    """Whether it came through a pipe, so that its name will not give it again."""
    path: str | tuple[str, ...] = ""
    """Of what files it is: a file, a folder or a glob, absolute; empty where it is of none that will be there again.

    Of several texts these are all of theirs, or their names."""

    @classmethod
    def of_text(cls, name: str, *texts: str) -> Corpus:
        """A corpus of texts that are in memory, each a document."""
        return cls(name, lambda: (Document([text]) for text in texts))

    def pieces(self) -> Iterator[str]:
        """The text of all documents, in parts."""
        for document in self.documents():
            yield from document.pieces

    @property
    def text(self) -> str:
        """All of it, in memory."""
        return "".join(self.pieces())

    @cached_property
    def survey(self) -> Survey:
        """Lengths and digests; reads everything, once. Raises DataError for a file that cannot be read or is not text."""
        digests, sizes, ends = [], array("q"), 0
        with progress(desc="reading", unit="char", unit_scale=True) as bar:
            for document in self.documents():
                digest, size = hashlib.sha256(), 0
                for piece in document.pieces:
                    digest.update(piece.encode())
                    size += len(piece)
                    ends += piece.count(END_OF_TEXT)
                    bar.update(len(piece))
                digests.append(digest.digest())
                sizes.append(size)
        whole = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()
        return Survey(whole.hex(), sum(sizes), digests, sizes, ends)

    @property
    def sha256(self) -> str:
        """See Survey."""
        return self.survey.sha256

    @property
    def characters(self) -> int:
        """How many there are in all documents."""
        return self.survey.characters
