"""What commands share: flags made from the settings of config.py, and the types of values."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gpt2.config import PRESETS, GPT2Config, Settings, TrainConfig, read_toml
from gpt2.errors import ConfigError, DataError, RunError, StrangeCharacterError
from gpt2.model import GPT2
from gpt2.run.folder import is_hugging_face, load_model
from gpt2.terminal import note
from gpt2.text.corpora import Corpus, Form, Texts, load_again, load_corpus, short_text
from gpt2.text.encoding import end_as_text, without_strangers
from gpt2.tokenizers import Tokenizer
from gpt2.tokenizers.base import END_OF_TEXT


def add_preset(parser: argparse.ArgumentParser, default: str, help: str = "named settings to start from") -> None:
    """`--preset NAME`, absent from the result unless it is given."""
    help = f"{help}: {', '.join(PRESETS)} (default {default})"
    parser.add_argument("--preset", choices=PRESETS, default=argparse.SUPPRESS, metavar="NAME", help=help)


def add_model(parser: argparse.ArgumentParser, help: str, positional: bool = False) -> None:
    """`--run FOLDER`, or just the folder, and `--best`: which model; `given_model` loads it."""
    if positional:
        parser.add_argument("run", help=help)
    else:
        parser.add_argument("--run", required=True, help=help)
    parser.add_argument(
        "--best",
        action="store_true",
        help="of a run, the checkpoint with the lowest validation loss instead of the last weights",
    )


def given_model(args: argparse.Namespace) -> tuple[GPT2, Tokenizer]:
    """The model and the tokenizer that `--run` and `--best` name. Raises RunError, also where there is no best checkpoint."""
    if args.best and is_hugging_face(args.run):
        raise RunError(f"--best: {args.run} is not a run folder: leave --best out")
    return load_model(args.run, args.best)


def add_form(parser: argparse.ArgumentParser, *names: str) -> None:
    """The flags of those settings that say in which form a text is; `read_as` takes them."""
    add_settings(parser, TrainConfig, "tiny", only=names or ("encoding", "text_field"))


def read_as(args: argparse.Namespace, base: TrainConfig | None = None) -> TrainConfig:
    """Settings of which those that say in which form a text is are the given ones."""
    given = {name: value for name, value in vars(args).items() if name in ("encoding", "text_field")}
    return replace(base or TrainConfig(), **given)


def given_corpus(data: Texts | None, config: TrainConfig) -> Corpus:
    """The text that `--data` names, or else that of a run; what whoever asks should know of it is said. Raises DataError."""
    corpus = load_again(config) if data is None else load_corpus(data, Form.of(config))
    for message in corpus.notes:
        note(message)
    return corpus


def add_prompt(parser: argparse.ArgumentParser, help: str, required: bool = True) -> None:
    """`--prompt` or `--prompt-file`, and how it is read; `given_prompt` takes them."""
    where = parser.add_mutually_exclusive_group(required=required)
    where.add_argument("--prompt", help=help)
    where.add_argument(
        "--prompt-file", metavar="FILE", help="a file with it, or - for standard input; its last line end is left out"
    )
    add_form(parser, "encoding")
    parser.add_argument("--special", action="store_true", help=f"{END_OF_TEXT} in the prompt is that token, not text")
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
        given = short_text(args.prompt_file, read_as(args).encoding)
        text = given.replace("\r\n", "\n").removesuffix("\n")
    elif "encoding" in args:
        raise ConfigError("--encoding is for --prompt-file")
    return encoded(args, tokenizer, text, "the prompt")


def encoded(args: argparse.Namespace, tokenizer: Tokenizer, text: str, what: str) -> tuple[str, np.ndarray[Any, Any]]:
    """A text, without what is skipped, and its ids; that the name of the end-of-text token in it is text is said.

    Raises DataError.
    """
    if args.skip_unknown:
        (text,) = without_strangers(Corpus.of_text(what, text), tokenizer, note).pieces()
    with offering_to_skip():
        ids = tokenizer.encode(text, args.special)
    if not args.special and END_OF_TEXT in text and (size := end_as_text(tokenizer)):
        note(f"{END_OF_TEXT} is text here, of {size} tokens; --special takes it for that token")
    return text, ids


def add_settings(
    parser: argparse.ArgumentParser, settings: type[Settings], preset: str, only: Collection[str] = (), **own: Any
) -> None:
    """A flag for every field, or for `only` some, absent from the result unless it is given.

    The default that is shown is the one without any flags: of the preset that is then taken, or of the command's `own`.
    """
    defaults = {**settings.of_preset(preset), **own}
    for f in dataclasses.fields(settings):  # type: ignore[arg-type]
        if only and f.name not in only:
            continue
        default = str(defaults.get(f.name, f.default))
        parser.add_argument(
            "--" + f.name.replace("_", "-"),
            type=boolean if isinstance(f.default, bool) else type(f.default),
            action="append" if f.metadata["several"] else "store",
            default=argparse.SUPPRESS,
            metavar="true|false" if isinstance(f.default, bool) else type(f.default).__name__.upper(),
            help=f"{f.metadata['help']} (default {default.lower() if isinstance(f.default, bool) else default or 'none'})",
        )


def boolean(text: str) -> bool:
    """`true` or `false`."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} must be true or false")
    return text == "true"


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")
    return int(text)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, by name: those of the TOML file, then the flags."""
    names = {"preset"} | {f.name for cls in (GPT2Config, TrainConfig) for f in dataclasses.fields(cls)}
    values = {} if getattr(args, "config", None) is None else read_toml(args.config)
    return {**values, **{key: value for key, value in vars(args).items() if key in names}}


def part_of(settings: type[Settings], given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given settings that belong to one class."""
    return {f.name: given[f.name] for f in dataclasses.fields(settings) if f.name in given}  # type: ignore[arg-type]
