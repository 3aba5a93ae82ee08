"""What commands share: the flags of a run, those made from the settings of config.py, and what they name."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands.parser import Bare, integer
from gpt2.config import PRESETS, GPT2Config, Settings, TrainConfig, read_toml
from gpt2.errors import ConfigError, DataError, RunError, StrangeCharacterError
from gpt2.files import naming
from gpt2.model import GPT2
from gpt2.run.folder import Description, Part, is_hugging_face, load_model, read_description
from gpt2.run.text import text_of_run
from gpt2.terminal import note
from gpt2.text.corpora import Corpus, Form, Texts, load_corpus, short_text
from gpt2.text.encoding import end_as_text, without_strangers
from gpt2.tokenizers import Tokenizer
from gpt2.tokenizers.base import END_OF_TEXT
from tinygrad2.errors import counted


def add_run(parser: argparse.ArgumentParser, help: str, **settings: Any) -> None:
    """`RUN`, or `--run RUN`: which run."""
    parser.add_argument("--run", action=Bare, metavar="RUN", help=help, **{"required": True, **settings})


def add_model(parser: argparse.ArgumentParser, help: str) -> None:
    """`RUN` and `--best`: which model; `given_model` loads it."""
    add_run(parser, help)
    parser.add_argument(
        "--best",
        action="store_true",
        help="take the run's checkpoint with the lowest validation loss, not its last weights",
    )


def given_model(args: argparse.Namespace) -> tuple[GPT2, Tokenizer]:
    """The model and the tokenizer that `--run` and `--best` name. Raises RunError, also where there is no best checkpoint."""
    if args.best and is_hugging_face(args.run):
        raise RunError(f"--best: {args.run} is not a run folder: leave --best out")
    return load_model(args.run, args.best)


def add_form(parser: argparse.ArgumentParser, *names: str) -> None:
    """The flags of those settings that say in which form a text is; `read_as` takes them."""
    for f in dataclasses.fields(TrainConfig):
        if f.name in (names or ("encoding", "text_field")):
            add_setting(parser, f)


def read_as(args: argparse.Namespace, base: TrainConfig | None = None) -> Form:
    """The form of a text that is given, or else that of a training."""
    given = {name: value for name, value in vars(args).items() if name in ("encoding", "text_field")}
    return Form.of(replace(base or TrainConfig(), **given))


def given_corpus(data: Texts, form: Form) -> Corpus:
    """The text that `--data` names; what whoever asks should know of it is said. Raises DataError."""
    return _noted(load_corpus(data, form))


def given_text_of_run(
    folder: str | Path,
    trained: Description | Part,
    data: Texts | None,
    form: Form | None = None,
    accept_changes: bool = False,
    fix: str = "",
) -> Corpus:
    """The text that a run was trained on; `--data` may say where it is. See run/text.py."""
    return _noted(text_of_run(folder, trained, data, form, accept_changes, fix))


def _noted(corpus: Corpus) -> Corpus:
    for message in corpus.notes:
        note(message)
    return corpus


@contextlib.contextmanager
def out_of(args: argparse.Namespace, name: str) -> Iterator[Path]:
    """Where to write what is made of `args.run`: `--out`, or a file of that name in the run folder. What is no run folder, but
    a model of Hugging Face's kind, is left as it is: then here. Inside, an OSError becomes a RunError that says what to do."""
    if args.out:
        with naming(f"--out {args.out}"):
            yield Path(args.out)
        return
    path = Path("" if is_hugging_face(args.run) or not Path(args.run).is_dir() else args.run, name)
    try:
        with naming(path):
            yield path
    except RunError as error:
        raise RunError(f"{error}; --out FILE writes it elsewhere") from error


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
        "--prompt-file", metavar="FILE", help="file to read the prompt from, or - for standard input; without its last line end"
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
        given = short_text(args.prompt_file, read_as(args).encoding)
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


COMMON_TITLE = "common settings"
COMMON = ("data", "tokenizer", "steps", "batch_size", "learning_rate", "max_seq_len", "d_model", "num_layers", "num_heads")
"""The settings that are wanted most, in the order of `--help`."""

GROUPS = {
    "vocab_size": "other settings of the model",
    "data": "where training begins",
    "seed": "seed, precision, threads and memory",
    "learning_rate": "learning rate and optimizer",
    "on_nonfinite": "what a bad batch does",
    "split": "evaluation, checkpoints and samples",
    "distributed": "several processes",
}
"""The settings from one to the next, as a group of `--help`: those that are not common."""


def add_setting(parser: argparse._ActionsContainer, f: dataclasses.Field[Any], bare: bool = False) -> argparse.Action:
    """The flag of a field, absent from the result unless it is given; if it is `bare`, its value may stand alone."""
    is_bool, several = isinstance(f.default, bool), f.metadata.get("several", False)
    how: dict[str, Any] = {"nargs": "?", "const": True} if is_bool else {"action": "append"} if several else {}
    return parser.add_argument(
        "--" + f.name.replace("_", "-"),
        type=type(f.default),
        default=argparse.SUPPRESS,
        help=_help(f, f.default),
        metavar="true|false" if is_bool else "TEXT" if bare else type(f.default).__name__.upper(),
        **({"action": Bare, "several": several} if bare else how),
    )


def _help(f: dataclasses.Field[Any], default: Any) -> str:
    shown = str(default).lower() if isinstance(default, bool) else str(default) or "none"
    return f"{f.metadata['help']} (default {shown})".replace("%", "%%")


def add_settings(
    parser: argparse.ArgumentParser,
    preset: str,
    *kinds: type[Settings],
    about: str = "named settings to start from",
    bare: str = "",
    without: Container[str] = (),
    **own: Any,
) -> None:
    """`--preset`, and a flag for every setting of these kinds, in groups.

    `without` are those that do nothing in this command, the first of a group standing for all of it. The default that is shown
    is the one that is taken: the command's `own`, or that of the preset.
    """
    flags: dict[str, tuple[dataclasses.Field[Any], argparse.Action]] = {}

    def show(preset: str) -> None:
        numbers = {name: value for name, value in own.items() if type(value) is not str}
        taken = (kind.preset(preset, **part_of(kind, numbers)) for kind in kinds)  # with what follows from other settings
        defaults = {name: value for settings in taken for name, value in vars(settings).items()} | own
        for name, (f, flag) in flags.items():
            flag.help = _help(f, defaults[name])

    presets = f"{about}: {', '.join(PRESETS)} (default {preset})"
    parser.add_argument("--preset", action=Preset, show=show, choices=PRESETS, metavar="NAME", help=presets)
    groups: dict[str, list[dataclasses.Field[Any]]] = {COMMON_TITLE: []}
    first = ""
    for kind in kinds:
        for f in dataclasses.fields(kind):  # type: ignore[arg-type]
            first = f.name if f.name in GROUPS else first
            if first not in without and f.name not in without:
                groups.setdefault(GROUPS[first], [])
                groups[COMMON_TITLE if f.name in COMMON else GROUPS[first]].append(f)
    groups[COMMON_TITLE].sort(key=lambda f: COMMON.index(f.name))
    for title, fields in groups.items():
        group = parser.add_argument_group(title)
        flags |= {f.name: (f, add_setting(group, f, f.name == bare)) for f in fields}
    show(preset)


class Preset(argparse.Action):
    """`--preset NAME`, which changes the defaults that `--help` shows."""

    def __init__(self, *args: Any, show: Callable[[str], None], **settings: Any) -> None:
        super().__init__(*args, **{"default": argparse.SUPPRESS, **settings})
        self.show = show

    def __call__(self, parser: Any, namespace: argparse.Namespace, value: Any, option_string: str | None = None) -> None:
        """Take its name."""
        setattr(namespace, self.dest, value)
        self.show(value)


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        if (value := integer(text)) >= 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, by name: those of the file, TOML or that of a run, then the flags."""
    names = {"preset"} | {f.name for cls in (GPT2Config, TrainConfig) for f in dataclasses.fields(cls)}
    values, flags = {}, {key: value for key, value in vars(args).items() if key in names}
    if (example := run_to_follow(args)) is not None:
        if "preset" in flags:
            raise ConfigError(f"--preset {flags['preset']}: {args.config} has all settings already: give only one of them")
        values = _as_given(example)
    elif getattr(args, "config", None) is not None:
        values = read_toml(args.config)
    return {**values, **flags}


def run_to_follow(args: argparse.Namespace) -> Description | None:
    """What `--config` says, if it is the config.json of a run. Raises RunError."""
    path = getattr(args, "config", None)
    return read_description(Path(path), links=True) if path is not None and path.endswith(".json") else None


def _as_given(run: Description) -> dict[str, Any]:
    """The settings of a run as somebody would give them to begin another: without the text, and what follows from others."""
    model, training = dataclasses.asdict(run.model), dataclasses.asdict(run.training)
    del training["data"]
    if training["init_from"]:  # it brings its tokenizer and sizes
        del training["tokenizer"]
        return {**training, "dropout": model["dropout"]}
    if training["tokenizer"] == "char":  # the characters of the text are counted
        del model["vocab_size"]
    if model["d_ff"] == 4 * model["d_model"]:
        del model["d_ff"]
    return {**model, **training}


def part_of(settings: type[Settings], given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given settings that belong to one class."""
    return {f.name: given[f.name] for f in dataclasses.fields(settings) if f.name in given}  # type: ignore[arg-type]
