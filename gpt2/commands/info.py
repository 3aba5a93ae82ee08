"""`gpt2 info`: what a model is made of."""

from __future__ import annotations

import argparse
import os

from gpt2.commands.arguments import add_run
from gpt2.commands.settings import add_settings, given_settings, part_of
from gpt2.config import PRESETS, GPT2Config
from gpt2.errors import ConfigError
from gpt2.files import strict_json
from gpt2.insight.info import as_text, describe
from gpt2.run.folder import Run, is_hugging_face
from gpt2.terminal import one_line
from gpt2.weights.hugging_face import PretrainedFolder

HELP = "show a model's parameters, memory, work and the shape of every step, without allocating it"
PRESET = "small"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_run(parser, "take the model of this run folder or Hugging Face GPT-2 folder, not of a preset", required=False)
    parser.add_argument("--tokens", type=int, default=3, help="length of the sequence whose shapes are shown (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, PRESET, GPT2Config, without=("dropout", "init"))


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = given_settings(args)
    if args.run is None:
        title = given.pop("preset", PRESET)
        config = GPT2Config.preset(title, **part_of(GPT2Config, given))
    elif given:
        raise ConfigError(f"{args.run}: its model has its own settings: leave out {', '.join(given)}, or the run")
    elif args.run in PRESETS and not os.path.lexists(args.run):
        raise ConfigError(f"{args.run} is a preset, not a folder: gpt2 info --preset {args.run}")
    else:
        title, theirs = one_line(args.run), is_hugging_face(args.run)
        config = PretrainedFolder(args.run).config if theirs else Run.open(args.run).read_config().model
    about = describe(config, args.tokens)
    if args.tokens < 1 or args.tokens > about["config"]["max_seq_len"]:
        raise ConfigError(f"--tokens {args.tokens} must be in 1..max_seq_len = {about['config']['max_seq_len']}")
    print(strict_json(about) if args.json else as_text(about, title))
    return 0
