"""`gpt2 train`: text in, a run folder out."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from gpt2 import data
from gpt2.commands.arguments import add_preset, add_settings, given_settings, part_of
from gpt2.config import GPT2Config, TrainConfig
from gpt2.corpora import load_corpus
from gpt2.errors import ConfigError
from gpt2.runs import Run, unused_folder
from gpt2.tokenizers import CharTokenizer
from gpt2.training import train

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
    corpus = load_corpus(config.data)
    tokenizer = CharTokenizer.train(corpus.text)
    vocab_size = given.setdefault("vocab_size", tokenizer.vocab_size)
    if type(vocab_size) is int and vocab_size < tokenizer.vocab_size:
        raise ConfigError(f"vocab_size = {vocab_size}, but the text has {tokenizer.vocab_size} distinct characters")
    model_config = GPT2Config.preset(preset, **part_of(GPT2Config, given))
    data.split(tokenizer.encode(corpus.text), config.val_fraction, model_config.max_seq_len)  # too short: say so first
    run = Run.create(Path(args.out) if args.out else unused_folder(f"{preset}-{corpus.name}"))
    say = tqdm.write
    say(f"{preset} on {corpus.name} ({len(corpus.text):,} characters, {tokenizer.vocab_size} distinct), into {run.folder}")
    result = train(model_config, config, corpus, tokenizer, run, say)
    stopped = f"interrupted after {result.steps} of {config.steps} steps" if result.interrupted else f"{result.steps} steps"
    print(f"\n{stopped} in {result.seconds:.0f} s")
    print(f"  validation loss          {result.val_loss:.4f} nats per token")
    print(f"  bigram baseline          {result.baselines['bigram']:.4f}")
    print(f"  ln V, a uniform guess    {result.baselines['uniform']:.4f}")
    print(f"run folder: {run.folder}")
    print("next:")
    print(f'  gpt2 sample --run {run.folder} --prompt "{_prompt(corpus.text)}" --tokens 300 --temperature 0.8')
    print(f"  gpt2 eval --run {run.folder}")
    print("  gpt2 gradcheck")
    print(f"  and look at {run.loss_plot}")
    return 130 if result.interrupted else 0


def _prompt(text: str) -> str:
    """A first word that the model knows all characters of, safe to show inside quotes."""
    return next((w for w in text.split() if w.isalpha() and len(w) > 1), text[:1].strip() or " ")
