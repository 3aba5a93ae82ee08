"""The settings of config.py as flags: each field is one, and what was given of them comes back by name."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from gpt2.commands.parser import Bare
from gpt2.config import FORM, PRESETS, GPT2Config, Settings, TrainConfig, read_toml
from gpt2.errors import ConfigError
from gpt2.run.description import Description, read_description

PRESET, OTHERWISE = "tiny", "tiny-adamw"
"""What a training begins with, and where Muon does not fit."""

COMMON_TITLE = "common settings"
COMMON = (
    "data",
    "tokenizer",
    "steps",
    "minutes",
    "batch_size",
    "learning_rate",
    "max_seq_len",
    "d_model",
    "num_layers",
    "num_heads",
)
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

    default = preset
    if TrainConfig in kinds:
        where = "with another --optimizer or --zero" if "data" in without else "with another --optimizer, --zero or --init-from"
        default += f"; {where}, {OTHERWISE}"
    presets = f"{about}: {', '.join(PRESETS)} (default {default})"
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


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, by name: those of the file, TOML or that of a run, then the flags."""
    names = {"preset"} | {f.name for cls in (GPT2Config, TrainConfig) for f in dataclasses.fields(cls)}
    values, flags = {}, {key: value for key, value in vars(args).items() if key in names}
    if (example := run_to_follow(args)) is not None:
        if "preset" in flags:
            raise ConfigError(f"--preset {flags['preset']}: {args.config} has all settings already: give only one of them")
        values = _as_given(example)
        if "data" in flags:  # the form of the run's text says nothing of another
            values = {name: value for name, value in values.items() if name not in FORM}
    elif getattr(args, "config", None) is not None:
        values = read_toml(args.config)
    for one, other in (("steps", "minutes"), ("minutes", "steps")):
        if type(flags.get(one)) in (int, float) and flags[one] > 0:
            values.pop(other, None)  # what a file says of the length of a training gives way to a flag
    return {**values, **flags}


def take_preset(given: dict[str, Any]) -> str:
    """The preset of a training that begins with these settings, out of which it is taken if it is there.

    Muon's rates are none for another optimizer, and would wreck weights that have learned already.
    """
    fits = given.get("optimizer", "muon") == "muon" and not given.get("zero") and not given.get("init_from")
    return str(given.pop("preset", PRESET if fits else OTHERWISE))


def run_to_follow(args: argparse.Namespace) -> Description | None:
    """What `--config` says, if it is the config.json of a run. Raises RunError."""
    path = getattr(args, "config", None)
    return read_description(Path(path), links=True) if path is not None and path.endswith(".json") else None


def _as_given(run: Description) -> dict[str, Any]:
    """The settings of a run as somebody would give them to begin another: without the text, and what follows from others."""
    model, training = dataclasses.asdict(run.model), run.training.chosen()
    del training["data"]
    if training["minutes"]:
        del training["steps"]
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
