"""The commands. Each verb is one function; settings come from config.py."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from gpt2 import data, generation
from gpt2.baselines import baselines
from gpt2.checking import SMALL, check_model
from gpt2.config import PRESETS, GPT2Config, Settings, TrainConfig, read_toml
from gpt2.corpora import load_corpus
from gpt2.errors import ConfigError, DataError, GPT2Error
from gpt2.executor import ShardExecutor
from gpt2.info import as_text, describe
from gpt2.runs import Run, unused_folder
from gpt2.tokenizers import CharTokenizer
from gpt2.training import train
from tinygrad2.errors import TinygradError


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 1 for a failed check, 2 for bad input, 130 when interrupted."""
    args, unknown = _parser().parse_known_args(argv)
    if unknown:
        known = [*vars(args), *(f.name for cls in (GPT2Config, TrainConfig) for f in dataclasses.fields(cls))]
        near = difflib.get_close_matches(unknown[0], ["--" + name.replace("_", "-") for name in known], 1)
        hint = f"; did you mean {near[0]}?" if near else f" (see gpt2 {args.verb} --help)"
        print(f"gpt2 {args.verb}: error: unknown argument {unknown[0]!r}{hint}", file=sys.stderr)
        return 2
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except (GPT2Error, TinygradError) as error:
        print(f"gpt2 {args.verb}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `gpt2 info | head`
        sys.stderr.close()
        return 0


# -- the verbs


def _train(args: argparse.Namespace) -> int:
    given = _given(args)
    preset = given.pop("preset", "tiny")
    config = TrainConfig.preset(preset, **_part(TrainConfig, given))
    corpus = load_corpus(config.data)
    tokenizer = CharTokenizer.train(corpus.text)
    vocab_size = given.setdefault("vocab_size", tokenizer.vocab_size)
    if type(vocab_size) is int and vocab_size < tokenizer.vocab_size:
        raise ConfigError(f"vocab_size = {vocab_size}, but the text has {tokenizer.vocab_size} distinct characters")
    model_config = GPT2Config.preset(preset, **_part(GPT2Config, given))
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


def _sample(args: argparse.Namespace) -> int:
    generation.check_sampling(args.temperature, args.top_k, args.top_p)
    model, tokenizer = Run.open(args.run).load_model()
    if not args.prompt:
        raise DataError('--prompt "" is empty: the model needs a first token to go on from')
    ids = tokenizer.encode(args.prompt)
    context = model.config.max_seq_len
    if len(ids) > context:
        print(
            f"gpt2 sample: note: the prompt has {len(ids)} tokens and the context {context}: "
            f"the model sees only the last {context}",
            file=sys.stderr,
        )
    new = model.generate(ids, args.tokens, args.temperature, args.top_k, args.top_p, args.seed)[len(ids) :]
    print(args.prompt + tokenizer.decode(new))
    return 0


def _eval(args: argparse.Namespace) -> int:
    run = Run.open(args.run)
    model, tokenizer = run.load_model()
    try:
        trained = TrainConfig(**run.read_config()["training"])
    except (KeyError, TypeError, ConfigError) as error:
        raise GPT2Error(f"{run.config} is damaged: {error}") from error
    context = model.config.max_seq_len
    corpus = load_corpus(args.data or trained.data)
    ids = tokenizer.encode(corpus.text)
    val_ids, floor = ids, {}
    if not args.data:  # the text it was trained on: its validation part
        train_ids, val_ids = data.split(ids, trained.val_fraction, context)
        floor = baselines(train_ids, val_ids, tokenizer.vocab_size)
    if len(val_ids) <= context:
        raise DataError(f"--data {args.data}: {len(val_ids)} tokens; a context of {context} needs at least {context + 1}")
    batches = data.consecutive(val_ids, context, max(1, 1024 // context))
    with ShardExecutor(0, 0, len(batches)) as executor:
        loss = executor.evaluate(model, batches)
    tokens = sum(targets.size for _, targets in batches)
    about = {"data": corpus.name, "tokens": tokens, "loss": loss, "perplexity": math.exp(loss), **floor}
    if args.json:
        print(json.dumps(about))
        return 0
    print(f"{corpus.name}: {tokens:,} tokens in windows of {context}")
    print(f"  loss {loss:.4f} nats per token, perplexity {math.exp(loss):.3f}")
    for name, value in floor.items():
        print(f"  {name} baseline {value:.4f}")
    return 0


def _info(args: argparse.Namespace) -> int:
    given = _given(args)
    preset = given.pop("preset", "small")
    about = describe(GPT2Config.preset(preset, **_part(GPT2Config, given)), args.tokens)
    if args.tokens < 1 or args.tokens > about["config"]["max_seq_len"]:
        raise ConfigError(f"--tokens {args.tokens} must be in 1..max_seq_len = {about['config']['max_seq_len']}")
    print(json.dumps(about) if args.json else as_text(about, preset))
    return 0


def _gradcheck(args: argparse.Namespace) -> int:
    given = _given(args)
    preset = given.pop("preset", "tiny")
    config = GPT2Config.preset(preset, **{**({"dropout": 0.0} if args.fast else SMALL), **_part(GPT2Config, given)})
    what = "a random direction through" if args.fast else "every entry of"
    print(
        f"{preset} at {config.num_layers} layers, {config.num_heads} heads, d_model {config.d_model}, vocabulary "
        f"{config.vocab_size}; float64, {what} every parameter"
    )
    result = check_model(config, args.seed, args.fast)
    print(result)
    return 0 if result.verdict == "right" else 1


# -- arguments


def _parser() -> Parser:
    parser = Parser(prog="gpt2", description="Train, use and check a GPT-2 built by hand on NumPy.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND", parser_class=Parser)

    verb = _verb(verbs, "train", _train, "train a model on text")
    _add_preset(verb, "tiny")
    verb.add_argument("--out", help="run folder to write; by default a new one in runs/")
    verb.add_argument("--config", help="a TOML file of settings, by the names of the flags with underscores")
    _add_settings(verb, TrainConfig)
    _add_settings(verb, GPT2Config)

    verb = _verb(verbs, "sample", _sample, "let a trained model write")
    verb.add_argument("--run", required=True, help="run folder")
    verb.add_argument("--prompt", required=True, help="text to go on from")
    verb.add_argument("--tokens", type=_natural, default=200, help="how many tokens to write (default 200)")
    verb.add_argument("--temperature", type=float, default=0.8, help="0 is greedy (default 0.8)")
    verb.add_argument("--top-k", type=int, help="choose among the K likeliest tokens only")
    verb.add_argument("--top-p", type=float, help="choose among the likeliest tokens that reach probability P")
    verb.add_argument("--seed", type=_natural, default=0, help="decides every random choice (default 0)")

    verb = _verb(verbs, "eval", _eval, "the loss of a trained model on its validation text, or on a file")
    verb.add_argument("--run", required=True, help="run folder")
    verb.add_argument("--data", help="a text file or corpus name, used whole; by default the run's validation part")
    verb.add_argument("--json", action="store_true", help="print one JSON object")

    verb = _verb(verbs, "info", _info, "parameters, memory, work and the shape of every step; allocates nothing")
    _add_preset(verb, "small")
    verb.add_argument("--tokens", type=int, default=3, help="length of the sequence whose shapes are shown (default 3)")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    _add_settings(verb, GPT2Config)

    verb = _verb(verbs, "gradcheck", _gradcheck, "compare every gradient of a small model with finite differences")
    _add_preset(verb, "tiny", "where ties, biases and initialisation come from; sizes are small unless given")
    verb.add_argument("--seed", type=_natural, default=0, help="decides weights and data (default 0)")
    verb.add_argument("--fast", action="store_true", help="one random direction per parameter, at the preset's own size")
    _add_settings(verb, GPT2Config)
    return parser


def _verb(verbs: Any, name: str, command: Callable[[argparse.Namespace], int], help: str) -> Parser:
    parser: Parser = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def _add_preset(parser: Parser, default: str, help: str = "named settings to start from") -> None:
    help = f"{help}: {', '.join(PRESETS)} (default {default})"
    parser.add_argument("--preset", choices=PRESETS, default=argparse.SUPPRESS, metavar="NAME", help=help)


def _add_settings(parser: Parser, settings: type[Settings]) -> None:
    """A flag for every field, absent from the result unless it is given."""
    for f in dataclasses.fields(settings):  # type: ignore[arg-type]
        parser.add_argument(
            "--" + f.name.replace("_", "-"),
            type=_boolean if isinstance(f.default, bool) else type(f.default),
            default=argparse.SUPPRESS,
            metavar="true|false" if isinstance(f.default, bool) else type(f.default).__name__.upper(),
            help=f"{f.metadata['help']} (default {str(f.default).lower() if isinstance(f.default, bool) else f.default})",
        )


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} must be true or false")
    return text == "true"


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")
    return int(text)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, by name: those of the TOML file, then the flags."""
    names = {"preset"} | {f.name for cls in (GPT2Config, TrainConfig) for f in dataclasses.fields(cls)}
    values = read_toml(args.config) if getattr(args, "config", None) else {}
    return {**values, **{key: value for key, value in vars(args).items() if key in names}}


def _part(settings: type[Settings], given: dict[str, Any]) -> dict[str, Any]:
    return {f.name: given[f.name] for f in dataclasses.fields(settings) if f.name in given}  # type: ignore[arg-type]
