"""Corpora by name, and the one way to get a corpus."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gpt2.errors import DataError
from gpt2.files import download, read_regular
from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.generated import GENERATED
from gpt2.text.corpora.piped import STANDARD_INPUT, is_pipe, piped_corpus
from gpt2.text.corpora.reading import Form, TextFile, files_corpus
from tinygrad2.files import cache_folder

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
            raise DataError(f"shakespeare: {error}; copy it to {path}, or give the file: --data FILE") from error
    return Corpus("shakespeare", lambda: [Document(TextFile(path))])


NAMED: dict[str, Callable[[], Corpus]] = {
    "pydocs": lambda: Corpus.of_text("pydocs", pydocs()),
    "shakespeare": shakespeare,
    **GENERATED,
}


GIVE = f"give a file, a folder, or a corpus by name ({', '.join(NAMED)})"

STDIN = "-"
"""Standard input; and what a run has noted that was trained on a text which could be read only once."""

Texts = str | Sequence[str]
"""The name of a text, or of several, that follow one another."""


def names(data: Texts) -> tuple[str, ...]:
    """Each name."""
    return (data,) if isinstance(data, str) else tuple(data)


def is_read_once(data: Texts) -> bool:
    """Whether a text can be read only once: standard input, a pipe, or a descriptor of this process (`<(...)` of a shell)."""
    return any(name in STANDARD_INPUT or is_pipe(Path(name)) for name in names(data))


def noted(data: Texts) -> tuple[str, ...]:
    """What a run notes of its text: whatever the shell called what came through a pipe, there is no text of that name now."""
    return tuple(STDIN if is_read_once(name) else name for name in names(data))


def load_corpus(data: Texts, form: Form | None = None) -> Corpus:
    """A corpus by its name in NAMED, standard input for `-`, or else a file, a pipe, a folder, or the files of a glob.

    Of several, the documents follow one another. Files are read only when the corpus is; what can be read only once is copied
    now. Raises DataError where there is nothing to read.
    """
    parts = [_load(name, form or Form()) for name in names(data)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        raise DataError(f"no text is named; {GIVE}")
    twice = sorted({name for name in data if list(data).count(name) > 1})
    return Corpus(
        "+".join(part.name for part in parts[:3]) + f" and {len(parts) - 3} more" * (len(parts) > 3),
        lambda: itertools.chain.from_iterable(part.documents() for part in parts),
        (*(note for part in parts for note in part.notes), *(f"{name} is given more than once" for name in twice)),
        any(part.once for part in parts),
        tuple(str(part.path or name) for part, name in zip(parts, data, strict=True)),
    )


def _load(data: str, form: Form) -> Corpus:
    if data in NAMED:
        return NAMED[data]()
    if not data.strip():
        raise DataError(f"{data!r} is not a text; {GIVE}")
    try:
        corpus = piped_corpus(data, form.encoding) if is_read_once(data) else files_corpus(data, form)
    except OSError as error:
        raise DataError(f"{error.filename or data}: {error.strerror}") from error
    if corpus is None:
        raise DataError(f"{data}: no such file; {_meant(data) or GIVE}")
    return corpus if corpus.once else replace(corpus, path=os.path.abspath(data))


def _meant(data: str) -> str:
    """What to do about a name of which there is no file, if it is plain what was meant; or nothing."""
    if "://" in data:
        return "it is an address: download it, and give the file"
    if os.path.exists(home := os.path.expanduser(data)):
        return f"did you mean {home}?"
    if near := difflib.get_close_matches(data.lower(), NAMED, 1):
        return f"did you mean {near[0]}?"
    folder = Path(data).parent
    beside = difflib.get_close_matches(Path(data).name, os.listdir(folder) if folder.is_dir() else (), 1)
    return f"did you mean {folder / beside[0]}?" if beside else ""
