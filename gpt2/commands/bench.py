"""`gpt2 bench`: how fast a training step is on this machine."""

from __future__ import annotations

import argparse
import json

from gpt2.benchmark import benchmark
from gpt2.commands.arguments import add_preset, add_settings, given_settings, natural, part_of
from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import ConfigError

HELP = "time a training step: milliseconds, tokens per second, memory, and the share of what the machine can do"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_preset(parser, "tiny")
    parser.add_argument("--seq-len", dest="max_seq_len", type=int, default=argparse.SUPPRESS, help="the same as --max-seq-len")
    parser.add_argument("--warmup", type=natural, default=3, help="steps before those that are timed (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, TrainConfig)
    add_settings(parser, GPT2Config)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = given_settings(args)
    preset = given.pop("preset", "tiny")
    config = GPT2Config.preset(preset, **part_of(GPT2Config, given))
    training = TrainConfig.preset(preset, **{"steps": 20, **part_of(TrainConfig, given)})
    found = benchmark(config, training, training.steps, args.warmup)
    print(json.dumps(found))
    return 0
