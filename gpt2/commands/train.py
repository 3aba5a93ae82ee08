"""`gpt2 train`: text in, a run folder out."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands.arguments import told
from gpt2.commands.settings import PRESET, add_settings, given_settings, part_of, run_to_follow, take_preset
from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import ConfigError
from gpt2.files import code_sha256
from gpt2.model import GPT2
from gpt2.run.checkpoints import Checkpoints
from gpt2.run.folder import Run, load_model, near, runs_in, some, unused_folder
from gpt2.run.live import Live
from gpt2.run.plots import draw_loss, draw_training
from gpt2.run.report import Report, suggested
from gpt2.run.text import text_of_run
from gpt2.terminal import in_notebook, note, one_line, say
from gpt2.text.corpora import Corpus, Form, Texts, is_read_once, load_corpus, names, noted
from gpt2.text.encoding import Prepared, prepare, tokenizer_for
from gpt2.tokenizers import Tokenizer
from gpt2.training import dial
from gpt2.training.choice import Choice, choose
from gpt2.training.loop import Result, Say, train
from gpt2.training.memory import check_fits, checkpoint_bytes
from gpt2.training.mpi import comm
from gpt2.training.resuming import Setup, read_setup
from gpt2.training.shards import Shards
from gpt2.weights import int8
from tinygrad2 import kernels
from tinygrad2.errors import counted
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.fast.products import bfloat16

HELP = "train a model on text"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("--out", help="run folder to write (default: a new one in runs/)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, or begin it if there is none")
    parser.add_argument("--accept-changes", action="store_true", help="resume although settings or the text have changed")
    parser.add_argument(
        "--config", help="file of settings: TOML with the names of the flags (underscores for hyphens), or a run's config.json"
    )
    parser.add_argument("--no-plots", action="store_true", help="do not draw loss.png and training.png at the end")
    add_settings(parser, PRESET, GPT2Config, TrainConfig, bare="data", vocab_size="the tokenizer's")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    signal = trained(args)[1].signal
    return 128 + signal if signal else 0


def trained(args: argparse.Namespace) -> tuple[Run, Result]:
    """What the command does: the run that it leaves, and how that ended."""
    began = time.perf_counter()
    start, together = _prepared(args), comm.current()
    out = None
    if together.is_main:
        out = Path(args.out) if args.out else unused_folder(f"{start.name}-{start.text.corpus.name[:40]}")
        run = Run(out) if start.setup else Run.create(out)
    out = together.broadcast(out, "the run folder")
    assert out is not None
    reasons = together.all_gather(Run(out).gave_up(), "the run folder")  # each sees the files of its machine
    if not together.is_main:  # what it would write goes nowhere
        with tempfile.TemporaryDirectory() as folder:
            return Run(out), start.train(Run(Path(folder), out), lambda _: None, began)
    report, live = Report(run), Live(run) if in_notebook() else None
    _announce(start, run, args, {path: why for found in reasons for path, why in found.items()})
    try:
        run.chosen = start.chosen

        def show() -> None:
            report.renew()
            if live:
                live.renew()

        pictures = (None, None) if args.no_plots else (partial(_draw, report), show)
        result = start.train(run, say, began, *pictures)
    except BaseException:
        report.end()
        if not start.setup:
            run.take_back()
        raise
    drawn: list[Path] = []
    if not args.no_plots and not result.signal:  # who ends it does not want to wait for pictures
        drawn = _draw(report, run)
        if live:
            live.renew(now=True)
    report.end()
    _report(result, run.folder)
    ended = not result.signal and not result.stopped_early  # so that more time would bring something
    if ended and math.isfinite(result.val_loss) and result.val_bytes and run.read_config().chosen:
        _promise(result, start)
    _suggest(run, result, start.text.corpus, drawn, " --no-plots" * args.no_plots)
    return run, result


@dataclass(frozen=True)
class Start:
    """What a training begins with, or goes on with: all that can be refused has been, and nothing is written yet."""

    name: str
    """Of its settings."""
    setup: Setup | None
    """Of the run that it goes on with."""
    config: TrainConfig
    model: GPT2
    text: Prepared
    library: str
    """What multiplies."""
    choice: Choice | None
    """Of it, where a run begins."""
    chosen: list[str]
    """What was chosen for the time that it has, and why, in lines."""

    def train(self, run: Run, say: Say, began: float, *pictures: Callable[..., object] | None) -> Result:
        """To the end, into a folder; `pictures` are the functions `draw` and `show` of the loop."""
        with products.using(self.library):
            return train(self.model, self.config, self.text, run, say, self.setup is not None, began, *pictures)


def _prepared(args: argparse.Namespace) -> Start:
    """Settings, text, tokenizer and model; what would be refused later is refused here. Raises an exception of errors.py."""
    given = given_settings(args)
    if args.out is not None and not args.out.strip():
        raise ConfigError("--out is empty: give a folder, or leave it out")
    if args.resume and not args.out:
        there = [name for name in names(given.get("data", ())) if Run(Path(name)).config.exists()]
        meant = f"; did you mean --resume --out {shlex.quote(there[0])}?" if there else ""
        raise ConfigError(f"--resume needs --out: the folder of the run to continue{meant}")
    resume = args.resume and Run(Path(args.out)).config.exists()
    if (
        args.resume
        and not given
        and comm.current().is_main
        and not os.path.lexists(args.out)
        and (other := near(Path(args.out)))
    ):
        raise ConfigError(f"--out {args.out}: no such folder{other} (to begin a run, leave --resume out)")
    if not resume and "preset" in given and given.get("init_from"):
        note(f"--preset {given['preset']} decides how the model of {given['init_from']} is trained; its sizes stay")
    together = comm.current()
    resume = together.broadcast(resume, "the start")  # a rank that is late may find what another has written
    setup = read_setup(args.out, given, args.accept_changes) if resume else None
    free = "preset" not in given  # which is then a matter of the time, if there is one
    preset, example = take_preset(given), run_to_follow(args)
    name = preset if example is None else Path(args.config).absolute().parent.name
    config = setup.training if setup else TrainConfig.preset(preset, **part_of(TrainConfig, given))
    if "steps" in given and config.minutes and not setup:
        raise ConfigError(f"--steps {config.steps} and --minutes {config.minutes:g}: one of them says how long; leave one out")
    if "data" in given:
        _check_texts(config.data)
    if together.size > 1 and is_read_once(config.data):
        raise ConfigError(f"--data {config.data}: only one rank could read it; give a file that all can read")
    new = Run(Path(args.out) if args.out else unused_folder(name)) if together.is_main and not setup else None
    if new:
        new.check_can_be_made()
    if config.dtype == "bfloat16":
        with bfloat16(()):  # what the first step would refuse is refused before there is a folder
            pass
    form = Form.of(config)
    if setup:
        fix = "; --accept-changes trains on it"
        corpus = text_of_run(args.out, setup.part, given.get("data"), form, args.accept_changes, fix)
    elif example is not None and "data" not in given:
        corpus = text_of_run(Path(args.config).parent, example, form=form)
        config = replace(config, data=corpus.path or example.training.data)
    else:
        corpus = load_corpus(config.data, form)
    told(corpus)
    chosen: list[str] = []
    if config.minutes and free and preset == PRESET and example is None and not setup:
        task = dial.Task.of(corpus, config)
        found, preset = dial.choices(task, given), dial.BASE
        given = {name: value for choice in found for name, value in choice.settings.items()} | given
        config, chosen = TrainConfig.preset(preset, **part_of(TrainConfig, given)), dial.lines(task, found, config)
        name = preset
    config = replace(config, data=noted(config.data))
    if setup:
        model, tokenizer = setup.model_at_start(bool(Checkpoints(setup.run.checkpoints).steps())), setup.tokenizer
    else:
        model, tokenizer = _new(preset, config, given, corpus)
    if new:
        new.check_can_be_made(checkpoint_bytes(model.num_parameters(), config))
    text = prepare(corpus, tokenizer, config, model.config.max_seq_len)  # before there is a folder: it may be too short
    text.baselines  # noqa: B018 - they are counted now, while nothing has begun that Ctrl-C would have to leave in order
    choice = choose(model.config, config, model.num_parameters()) if together.is_main and not setup else None
    library = setup.part.library if setup else choice.name if choice else ""
    library = together.broadcast(library, "the choice of a library")  # one for all ranks
    if together.size > 1:
        Shards.of(config, model.num_parameters())  # refuses too few of them before there is a folder
        together.check_same(_facts(config, model, corpus) | {"the products": products.running(library)})
    return Start(name, setup, config, model, text, library, choice, chosen)


def _announce(start: Start, run: Run, args: argparse.Namespace, gave_up: dict[Path, str]) -> None:
    """What begins or goes on, in a line; and what whoever started it may not expect."""
    corpus, tokenizer, config, setup = start.text.corpus, start.text.tokenizer, start.config, start.setup
    size = f"{corpus.characters:,} characters, {tokenizer.vocab_size} {'distinct' if config.tokenizer == 'char' else 'tokens'}"
    what = corpus.name if setup else f"{start.name} on {corpus.name}"
    say(one_line(f"{what} ({size}), into {run.folder}"))
    for line in start.chosen:
        say(line)
    if setup and (schedule := setup.schedule()):
        say(schedule)
    if start.choice and start.choice.new and len(start.choice.rates) > 1:
        say(str(start.choice))
    if args.resume and not setup:
        say(one_line(f"{args.out} holds no run to resume: a new one begins{near(run.folder)}"))
    for path, why in gave_up.items():
        say(one_line(f"the job before gave up, says {path}: {why}"))


MODEL_FILES = ("config.json", "metrics.jsonl", "model.safetensors", "model.safetensors.index.json")


def _check_texts(given: Texts) -> None:
    """Raise ConfigError for what is there, and hardly meant as a text."""
    for name in names(given):
        there = {file for file in MODEL_FILES if os.path.exists(os.path.join(name, file))}
        if "config.json" in there and len(there) > 1:  # many a folder of texts has that one
            raise ConfigError(
                f"{name} is a run, not a text: --resume --out {name} continues it, and --init-from {name} begins another"
            )
        runs = runs_in(Path(name))
        if runs and all(path in runs or path.suffix in (".png", ".html") for path in Path(name).glob("[!.]*")):
            raise ConfigError(f"{name} holds runs ({some(runs)}), not texts: gpt2 runs {name} lists them")
        if os.path.exists(name) and (name.endswith(".toml") or os.path.basename(name) == "config.json"):
            raise ConfigError(f"{name} holds settings, not a text: --config {name} takes them")


def _facts(config: TrainConfig, model: GPT2, corpus: Corpus) -> dict[str, str]:
    """What must be the same on all processes of a training."""
    settings = {name: repr(value) for name, value in {**asdict(config), **asdict(model.config)}.items()}
    about = {"the text's sha256": corpus.sha256, "the code's sha256": code_sha256(), "the kernels": str(kernels.running())}
    return {**settings, **about, "NumPy": np.__version__}


def _new(preset: str, config: TrainConfig, given: dict[str, Any], corpus: Corpus) -> tuple[GPT2, Tokenizer]:
    """The model as training begins, and its tokenizer: new ones, or those of `--init-from`."""
    if config.init_from:
        model, tokenizer = load_model(config.init_from)
        changed = {name: value for name, value in given.items() if getattr(model.config, name, value) != value}
        wrong = [f"{name} = {getattr(model.config, name)}, not {value}" for name, value in changed.items() if name != "dropout"]
        if wrong or "tokenizer" in given:
            raise ConfigError(
                f"--init-from {config.init_from} brings its tokenizer and sizes; {', '.join(wrong) or 'no --tokenizer'}"
            )
        model_config = replace(model.config, dropout=float(given.get("dropout", 0)))
        check_fits(model_config, config)
        return GPT2.with_weights(model_config, int8.to_train(model, config.init_from)), tokenizer
    model_config = GPT2Config.preset(preset, **part_of(GPT2Config, given))
    tokenizer = tokenizer_for(corpus, config, given.get("vocab_size"))
    vocab_size = given.get("vocab_size", tokenizer.vocab_size)
    if config.tokenizer == "bpe" and vocab_size > tokenizer.vocab_size:
        note(
            f"--vocab-size {vocab_size}: the text has merges for only {tokenizer.vocab_size} tokens; the model has room for "
            f"{vocab_size - tokenizer.vocab_size} more, which it never writes"
        )
    if vocab_size < tokenizer.vocab_size:
        what = "the text has {} distinct characters" if config.tokenizer == "char" else "the tokenizer has {} tokens"
        raise ConfigError(f"vocab_size = {vocab_size}, but {what.format(tokenizer.vocab_size)}")
    model_config = replace(model_config, vocab_size=vocab_size)
    check_fits(model_config, config)
    return GPT2(model_config, config.seed), tokenizer


def _draw(report: Report, run: Run) -> list[Path]:
    """Draw the pictures of a run and its page; those that are. What is not is said: the run is whole, which is what counts."""
    drawn = []
    made: dict[Path, Callable[[], object]] = {
        run.training_plot: partial(draw_training, run),
        run.loss_plot: partial(draw_loss, run),
        run.report: report.draw,
    }
    for path, draw in made.items():
        try:
            draw()
            drawn.append(path)
        except Exception as error:  # whatever it is
            say(f"{path} is not drawn: {' '.join(str(error).split()) or type(error).__name__}")
    return drawn


def _report(result: Result, folder: Path) -> None:
    """The loss, and what to compare it with."""
    command = f"gpt2 eval {one_line(shlex.quote(str(folder)))}"
    stopped = counted(result.steps, "step")
    if result.signal:
        stopped = f"interrupted after {result.steps} of {result.planned} steps"
    elif result.stopped_early:
        stopped = f"the validation loss stopped falling: ended after {result.steps} of {result.planned} steps"
    now = f", {result.steps_now} of them now," if result.steps_now != result.steps else ""
    print(f"\n{stopped}{now} in {result.seconds:.0f} s")
    if result.in_evaluation and result.steps:
        print(f"  step {result.steps} is logged when the run goes on: its evaluation was interrupted")
    earlier = result.val_step is not None and result.val_step < result.steps
    if earlier and result.train_loss is not None:
        print(f"  training loss            {result.train_loss:.4f} nats per token, of the batch of step {result.steps}")
    if math.isnan(result.val_loss) and result.signal:
        print("  validation loss          not evaluated yet")
    else:
        when = f", after step {result.val_step}; {command} evaluates it now" if earlier else ""
        print(f"  validation loss          {result.val_loss:.4f} nats per token{when}")
        some = result.windows < result.all_windows
        whole = f"{result.windows:,} of" if some else "all"
        rest = f"; {command} evaluates all" if some and not earlier else ""
        print(f"  evaluated                {whole} {result.all_windows:,} windows, {result.val_tokens:,} tokens{rest}")
        others = ", ".join(
            f"{name} {result.bits * result.baselines[name]:.3f}"
            for name in ("trigram", "xz", "gzip")
            if name in result.baselines
        )
        print(f"  in bits per byte         {result.bits * result.val_loss:.3f}; {others}")
    if "perfect" in result.baselines:
        perfect = result.baselines["perfect"]
        print(f"  a perfect model          {perfect:.4f}: the loss is {result.val_loss - perfect:.4f} above it")
    print(f"  trigram with back-off    {result.baselines['trigram']:.4f}")
    print(f"  bigram baseline          {result.baselines['bigram']:.4f}")
    print(f"  ln V, a uniform guess    {result.baselines['uniform']:.4f}")


def _promise(result: Result, start: Start) -> None:
    """What more time would bring, of a training with the settings of the rule."""
    read = result.steps * start.config.batch_size * start.model.config.max_seq_len / len(start.text.train)
    low, high = dial.twice(result.bits * result.val_loss, read)
    print(f"  in twice the minutes     {low:.3f} to {high:.3f} bits per byte, as for other texts read {dial.times(read)}")


def _suggest(run: Run, result: Result, corpus: Corpus, drawn: list[Path], flags: str) -> None:
    """The commands to try next; `flags` are for the one that goes on."""
    print(f"run folder: {one_line(str(run.folder))}")
    print("next:")
    for command in suggested(run, bool(result.signal), _prompt(next(corpus.pieces())), corpus.once, flags):
        print(f"  {command}")
    for path in (run.loss_plot, run.report):
        if path in drawn:
            print(f"  open {one_line(str(path))}")


def _prompt(text: str) -> str:
    """A first word that the model knows all characters of, in quotes for a shell."""
    word = next((w for w in text.split() if w.isalpha() and len(w) > 1), "")
    return f'"{word}"' if word else one_line(shlex.quote(text[:1].strip() or " "))
