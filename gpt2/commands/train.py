"""`gpt2 train`: text in, a run folder out."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from tqdm import tqdm

from gpt2.commands.arguments import add_preset, add_settings, given_settings, part_of
from gpt2.config import GPT2Config, TrainConfig
from gpt2.corpora import load_corpus
from gpt2.errors import ConfigError
from gpt2.preparation import prepare, to_stderr, tokenizer_for
from gpt2.runs import Run, unused_folder
from gpt2.training import Result, train

HELP = "train a model on text"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_preset(parser, "tiny")
    parser.add_argument("--out", help="run folder to write; by default a new one in runs/")
    parser.add_argument("--config", help="a TOML file of settings, by the names of the flags with underscores")
    add_settings(parser, TrainConfig)
    add_settings(parser, GPT2Config)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = given_settings(args)
    preset = given.pop("preset", "tiny")
    config = TrainConfig.preset(preset, **part_of(TrainConfig, given))
    model_config = GPT2Config.preset(preset, **part_of(GPT2Config, given))
    corpus = load_corpus(config.data)
    for note in corpus.notes:
        to_stderr(note)
    tokenizer = tokenizer_for(corpus, config, given.get("vocab_size"))
    if given.setdefault("vocab_size", tokenizer.vocab_size) < tokenizer.vocab_size:
        what = "the text has {} distinct characters" if config.tokenizer == "char" else "the tokenizer has {} tokens"
        raise ConfigError(f"vocab_size = {given['vocab_size']}, but {what.format(tokenizer.vocab_size)}")
    model_config = dataclasses.replace(model_config, vocab_size=given["vocab_size"])
    text = prepare(corpus, tokenizer, config, model_config.max_seq_len)  # before there is a folder: it may be too short
    run = Run.create(Path(args.out) if args.out else unused_folder(f"{preset}-{corpus.name}"))
    say = tqdm.write
    size = f"{corpus.characters:,} characters, {tokenizer.vocab_size} {'distinct' if config.tokenizer == 'char' else 'tokens'}"
    say(f"{preset} on {corpus.name} ({size}), into {run.folder}")
    result = train(model_config, config, text, run, say)
    _report(result, config.steps)
    print(f"run folder: {run.folder}")
    print("next:")
    print(f'  gpt2 sample --run {run.folder} --prompt "{_prompt(next(corpus.pieces()))}" --tokens 300 --temperature 0.8')
    print(f"  gpt2 eval --run {run.folder}")
    print("  gpt2 gradcheck")
    print(f"  and look at {run.loss_plot}")
    return 130 if result.interrupted else 0


def _report(result: Result, steps: int) -> None:
    """The loss, and what to compare it with."""
    stopped = f"interrupted after {result.steps} of {steps} steps" if result.interrupted else f"{result.steps} steps"
    print(f"\n{stopped} in {result.seconds:.0f} s")
    print(f"  validation loss          {result.val_loss:.4f} nats per token")
    if "perfect" in result.baselines:
        perfect = result.baselines["perfect"]
        print(f"  a perfect model          {perfect:.4f}: the loss is {result.val_loss - perfect:.4f} above it")
    print(f"  bigram baseline          {result.baselines['bigram']:.4f}")
    print(f"  ln V, a uniform guess    {result.baselines['uniform']:.4f}")


def _prompt(text: str) -> str:
    """A first word that the model knows all characters of, safe to show inside quotes."""
    return next((w for w in text.split() if w.isalpha() and len(w) > 1), text[:1].strip() or " ")
