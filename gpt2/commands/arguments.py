"""What commands share: flags made from the settings of config.py, and the types of values."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np

from gpt2.config import PRESETS, GPT2Config, Settings, TrainConfig, read_toml
from gpt2.errors import RunError
from gpt2.model import GPT2
from gpt2.run.folder import is_hugging_face, load_model
from gpt2.terminal import note
from gpt2.text.corpora import Corpus, load_again, load_corpus
from gpt2.text.encoding import end_as_text
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


def given_corpus(data: str | None, recorded: str) -> Corpus:
    """The text that `--data` names, or else that of a run; what whoever asks should know of it is said. Raises DataError."""
    corpus = load_again(recorded) if data is None else load_corpus(data)
    for message in corpus.notes:
        note(message)
    return corpus


def add_special(parser: argparse.ArgumentParser) -> None:
    """`--special`, of a prompt; `encoded` is what it is for."""
    parser.add_argument("--special", action="store_true", help=f"{END_OF_TEXT} in the prompt is that token, not text")


def encoded(tokenizer: Tokenizer, text: str, special: bool) -> np.ndarray[Any, Any]:
    """The ids of a text; that the name of the end-of-text token in it is text is said. Raises DataError."""
    ids = tokenizer.encode(text, special)
    if not special and END_OF_TEXT in text and (size := end_as_text(tokenizer)):
        note(f"{END_OF_TEXT} is text here, of {size} tokens; --special takes it for that token")
    return ids


def add_settings(parser: argparse.ArgumentParser, settings: type[Settings], preset: str, **own: Any) -> None:
    """A flag for every field, absent from the result unless it is given.

    The default that is shown is the one without any flags: of the preset that is then taken, or of the command's `own`.
    """
    numbers = {name: value for name, value in own.items() if type(value) is not str}
    defaults = {**vars(settings.preset(preset, **numbers)), **own}  # what follows from others is a number in these
    for f in dataclasses.fields(settings):  # type: ignore[arg-type]
        default = str(defaults[f.name])
        parser.add_argument(
            "--" + f.name.replace("_", "-"),
            type=boolean if isinstance(f.default, bool) else type(f.default),
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
