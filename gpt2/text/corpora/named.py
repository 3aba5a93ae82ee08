"""Corpora by name, and the one way to get a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from gpt2.errors import DataError
from gpt2.files import cache_folder, download, read_regular
from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.generated import GENERATED
from gpt2.text.corpora.piped import piped_corpus, standard_input_corpus
from gpt2.text.corpora.reading import TextFile, files_corpus

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
        here = hashlib.sha256(read_regular(path, SHAKESPEARE_BYTES)).hexdigest() == SHAKESPEARE_SHA256
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


STDIN = "-"
"""Standard input; and what a run has noted that was trained on a text which could be read only once."""

STANDARD_INPUT = (STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def is_read_once(data: str) -> bool:
    """Whether a text can be read only once: standard input, a pipe, or a descriptor of this process (`<(...)` of a shell)."""
    path = Path(data)
    return data in STANDARD_INPUT or str(path.parent) in ("/dev/fd", "/proc/self/fd") or path.is_fifo()


def load_corpus(data: str) -> Corpus:
    """A corpus by its name in NAMED, standard input for `-`, or else a file, a pipe, a folder, or the files of a glob.

    Files are read only when the corpus is; what can be read only once is copied now. Raises DataError where there is nothing
    to read.
    """
    if data in NAMED:
        return NAMED[data]()
    if not data.strip():
        raise DataError(f"--data {data!r} names no text; give a file, a folder, or a corpus by name ({', '.join(NAMED)})")
    try:
        if data in STANDARD_INPUT:
            return standard_input_corpus()
        corpus = piped_corpus(Path(data)) if is_read_once(data) else files_corpus(data)
    except OSError as error:
        raise DataError(f"--data {error.filename or data}: {error.strerror}") from error
    if corpus is None:
        raise DataError(f"--data {data}: no such file, nor a corpus of that name (there is {', '.join(NAMED)})")
    return corpus


def load_again(data: str) -> Corpus:
    """The corpus that a run has noted. Raises DataError, also for a text that could be read only once."""
    if data == STDIN:
        raise DataError("the run was trained on a text that came through a pipe and was not kept: give it again with --data")
    return load_corpus(data)
