"""`gpt2 info`: what a model is made of."""

from __future__ import annotations

import argparse

from gpt2.commands.arguments import add_preset, add_settings, given_settings, part_of
from gpt2.config import GPT2Config
from gpt2.errors import ConfigError
from gpt2.files import strict_json
from gpt2.insight.info import as_text, describe

HELP = "parameters, memory, work and the shape of every step; allocates nothing"
PRESET = "small"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_preset(parser, PRESET)
    parser.add_argument("--tokens", type=int, default=3, help="length of the sequence whose shapes are shown (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, GPT2Config, PRESET)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = given_settings(args)
    preset = given.pop("preset", PRESET)
    about = describe(GPT2Config.preset(preset, **part_of(GPT2Config, given)), args.tokens)
    if args.tokens < 1 or args.tokens > about["config"]["max_seq_len"]:
        raise ConfigError(f"--tokens {args.tokens} must be in 1..max_seq_len = {about['config']['max_seq_len']}")
    print(strict_json(about) if args.json else as_text(about, preset))
    return 0
