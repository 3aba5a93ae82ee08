"""What commands share: the flags of a run, a text, a prompt and a file to write, and what is read or written by them."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands.parser import Bare, place
from gpt2.commands.settings import add_setting
from gpt2.config import FORM, TrainConfig
from gpt2.errors import ConfigError, DataError, RunError, StrangeCharacterError
from gpt2.files import naming
from gpt2.model import GPT2
from gpt2.run.folder import Run, is_hugging_face, load_model
from gpt2.terminal import note
from gpt2.text.corpora import Corpus, Form, Texts, is_read_once, names, short_text
from gpt2.text.corpora.decoding import NotTextError
from gpt2.text.corpora.reading import TextFile
from gpt2.text.encoding import end_as_text, without_strangers
from gpt2.tokenizers import Tokenizer
from gpt2.tokenizers.base import END_OF_TEXT
from gpt2.weights import int8
from tinygrad2.errors import counted
from tinygrad2.language import LANGUAGES, VARIABLE


def add_run(parser: argparse.ArgumentParser, help: str, **settings: Any) -> None:
    """`RUN`, or `--run RUN`: which run."""
    parser.add_argument("--run", action=Bare, metavar="RUN", help=help, **{"required": True, **settings})


def add_language(parser: argparse.ArgumentParser) -> None:
    """`--language`, which holds from here on."""
    parser.add_argument(
        "--language",
        choices=LANGUAGES,
        help=f"of what is said: en or zh (default: what {VARIABLE} says, or en); --json stays as it is",
    )


def add_model(parser: argparse.ArgumentParser, help: str) -> None:
    """`RUN` and `--best`: which model; `given_model` loads it."""
    add_run(parser, help)
    parser.add_argument(
        "--best",
        action="store_true",
        help="take the run's checkpoint with the lowest validation loss, not its last weights",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """`--weights int8`; `given_model` heeds it."""
    parser.add_argument(
        "--weights",
        choices=["int8"],
        help="round the matrices to 8-bit integers with a scale for each row (default: as stored)",
    )


def given_model(args: argparse.Namespace) -> tuple[GPT2, Tokenizer]:
    """The model and the tokenizer that `--run` and `--best` name, with `--weights`. Raises RunError, also without a best."""
    if args.best and is_hugging_face(args.run):
        raise RunError(f"--best: {args.run} is not a run folder: leave --best out")
    model, tokenizer = load_model(args.run, args.best)
    rounded = getattr(args, "weights", None) and not int8.is_int8(model)
    return int8.quantized(model) if rounded else model, tokenizer


def add_form(parser: argparse.ArgumentParser, *names: str) -> None:
    """The flags of those settings that say in which form a text is; `read_as` takes them."""
    for f in dataclasses.fields(TrainConfig):
        if f.name in (names or FORM):
            add_setting(parser, f)


def read_as(args: argparse.Namespace, base: TrainConfig | None = None) -> Form:
    """The form of a text that is given, or else that of a training."""
    given = {name: value for name, value in vars(args).items() if name in FORM}
    return Form.of(replace(base or TrainConfig(), **given))


def training_of(args: argparse.Namespace) -> TrainConfig | None:
    """With what the run was trained; None for a model of Hugging Face's kind. Raises RunError."""
    return None if is_hugging_face(args.run) else Run(Path(args.run)).read_config().training


def read_like(
    args: argparse.Namespace, training: TrainConfig | None, data: Texts, plain: Callable[[Form], Iterable[str]]
) -> Form:
    """The form of another text for a run: what is given, or else that of the text of the run.

    If that was not UTF-8, a text that is UTF-8, as few others are by chance, is still read so; `plain` reads it. One that
    comes through a pipe cannot be tried.
    """
    form = read_as(args, training)
    if "encoding" in args or codecs.lookup(form.encoding).name == TrainConfig.encoding:
        return form
    usual = replace(form, encoding=TrainConfig.encoding)
    if is_read_once(data):
        return usual
    what = " and ".join(names(data))
    try:
        if not sum(not piece.isascii() for piece in plain(usual)):  # all of it is read
            return form  # which may be one where letters are ASCII, too
    except NotTextError:
        note(f"{what} is read as {form.encoding}, like the text of the run; --encoding names another")
        return form
    except DataError:  # which is said when it is read
        return form
    note(f"{what} is read as UTF-8, though the text of the run was {form.encoding}; --encoding names another")
    return usual


def told(corpus: Corpus) -> Corpus:
    """The same; what whoever asked for it should know of it is said."""
    for message in corpus.notes:
        note(message)
    return corpus


@contextlib.contextmanager
def out_of(out: str | None, usual: Path) -> Iterator[Path]:
    """Where to write: `--out`, or the usual file. Inside, an OSError becomes a RunError that says what to do."""
    if out:
        with naming(f"--out {out}"):
            yield Path(out)
        return
    try:
        with naming(usual):
            yield usual
    except RunError as error:
        raise RunError(f"{error}; --out FILE writes it elsewhere") from error


def in_run(folder: str, name: str) -> Path:
    """A file of that name in a run folder. A model of Hugging Face's kind is no run, and left as it is: then here."""
    return Path("" if is_hugging_face(folder) or not Path(folder).is_dir() else folder, name)


@contextlib.contextmanager
def overflow_noted() -> Iterator[None]:
    """Inside, what overflows is no warning of NumPy's for each line of code: it is said once, at the end, what it means."""
    kinds = set[str]()
    with np.errstate(over="call", invalid="call", divide="call", call=lambda kind, flag: kinds.add(kind)):
        yield
    if kinds:
        note("some numbers of this model are too large to compute with: its training diverged (see gpt2 health)")


def add_prompt(parser: argparse.ArgumentParser, help: str, required: bool = True) -> None:
    """`--prompt` or `--prompt-file`, and how it is read; `given_prompt` takes them."""
    where = parser.add_mutually_exclusive_group(required=required)
    where.add_argument("--prompt", help=help)
    where.add_argument(
        "--prompt-file",
        type=place,
        metavar="FILE",
        help="file to read the prompt from, or - for standard input; without its last line end",
    )
    add_form(parser, "encoding")
    parser.add_argument("--special", action="store_true", help=f"read {END_OF_TEXT} in the prompt as that token, not as text")
    add_skip(parser)


def add_skip(parser: argparse.ArgumentParser) -> None:
    """`--skip-unknown`, for `offering_to_skip`."""
    parser.add_argument("--skip-unknown", action="store_true", help="leave out characters that have no token, with a note")


@contextlib.contextmanager
def offering_to_skip() -> Iterator[None]:
    """Inside, the refusal of characters that have no token says the flag that leaves them out."""
    try:
        yield
    except StrangeCharacterError as error:
        raise DataError(f"{error}; --skip-unknown leaves them out") from None


def given_prompt(args: argparse.Namespace, tokenizer: Tokenizer) -> tuple[str, np.ndarray[Any, Any]]:
    """The text of the prompt, without what is skipped, and its ids. Raises DataError."""
    text = args.prompt
    if args.prompt_file is not None:
        path = Path(args.prompt_file)
        form = read_like(args, training_of(args), args.prompt_file, lambda form: TextFile(path, encoding=form.encoding))
        given = short_text(args.prompt_file, form.encoding)
        text = given.replace("\r\n", "\n").removesuffix("\n")
    elif "encoding" in args:
        raise ConfigError("--encoding is for --prompt-file: leave it out")
    return encoded(args, tokenizer, text, "the prompt")


def encoded(args: argparse.Namespace, tokenizer: Tokenizer, text: str, what: str) -> tuple[str, np.ndarray[Any, Any]]:
    """A text, without what is skipped, and its ids; that the name of the end-of-text token in it is text is said.

    Raises DataError.
    """
    if args.special and END_OF_TEXT in text and tokenizer.end_of_text is None:
        raise DataError(f"--special: this tokenizer has no token {END_OF_TEXT}; leave --special out")
    if args.skip_unknown:
        (text,) = without_strangers(Corpus.of_text(what, text), tokenizer, note).pieces()
    with offering_to_skip():
        ids = tokenizer.encode(text, args.special)
    if not args.special and END_OF_TEXT in text and (size := end_as_text(tokenizer)):
        note(f"{END_OF_TEXT} is read as text ({counted(size, 'token')}); --special reads it as that token")
    return text, ids
