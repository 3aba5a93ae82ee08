"""Corpora by name, and the one way to get a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from gpt2.corpora.corpus import Corpus, Document
from gpt2.corpora.generated import GENERATED
from gpt2.corpora.reading import TextFile, files_corpus
from gpt2.errors import DataError
from gpt2.files import cache_folder, download

SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394


def pydocs() -> str:
    """The language reference that Python itself carries for `help()`: English prose with grammar and code."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def shakespeare() -> Corpus:
    """Tiny Shakespeare, 40,000 lines from his plays: downloaded once into the cache folder, where a copy may also be put.

    Raises DataError that says what to put where if it cannot be downloaded.
    """
    path = cache_folder() / "corpora" / "tinyshakespeare.txt"
    try:
        here = hashlib.sha256(path.read_bytes()).hexdigest() == SHAKESPEARE_SHA256
    except OSError:
        here = False
    if not here:
        try:
            download(SHAKESPEARE_URL, path, SHAKESPEARE_SHA256, SHAKESPEARE_BYTES)
        except DataError as error:
            raise DataError(
                f"--data shakespeare: {error}; get it elsewhere and put it at {path}, or give the file itself: --data FILE"
            ) from error
    return Corpus("shakespeare", lambda: [Document(TextFile(path))])


NAMED: dict[str, Callable[[], Corpus]] = {
    "pydocs": lambda: Corpus.of_text("pydocs", pydocs()),
    "shakespeare": shakespeare,
    **GENERATED,
}


def load_corpus(data: str) -> Corpus:
    """A corpus by its name in NAMED, or else a file, a folder, or the files that a glob matches.

    The files are read only when the corpus is. Raises DataError where there is nothing to read.
    """
    if data in NAMED:
        return NAMED[data]()
    try:
        corpus = files_corpus(data)
    except OSError as error:
        raise DataError(f"--data {data}: {error.strerror}") from error
    if corpus is None:
        raise DataError(f"--data {data}: no such file, nor a corpus of that name (there is {', '.join(NAMED)})")
    return corpus
