"""Going on with a run: as it was begun, or with changes that were asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from gpt2.config import FOLLOWS, FORM, GPT2Config, TrainConfig
from gpt2.errors import RunError
from gpt2.model import GPT2
from gpt2.run.checkpoints import Checkpoints
from gpt2.run.description import Part
from gpt2.run.folder import Run, load_model
from gpt2.tokenizers import Tokenizer, load_tokenizer
from gpt2.training.memory import check_fits
from gpt2.training.mpi import comm
from gpt2.training.optimizer import learning_rate
from gpt2.training.shards import arithmetic
from gpt2.weights import int8

HARMLESS = ("data", *FORM, "distributed", "zero", "rank_timeout")
"""Settings of which the result does not depend: not on where and in which form the text is, as long as it is the same (see
run/text.py)."""

FIXED = {f.name for f in fields(GPT2Config)} | {"tokenizer", "init_from"}
"""Settings of what a model begins as: they have no meaning later."""

KEPT: dict[str, Callable[[Any], Any]] = {"optimizer": lambda name: {"sgd": 1, "muon": 2}.get(name, 0), "ema_decay": bool}
"""Settings of what a checkpoint has to hold, and where that is other things: they can change to a value that needs the same."""


@dataclass(frozen=True)
class Setup:
    """What a run was begun with, with the changes that are accepted."""

    run: Run
    model: GPT2Config
    training: TrainConfig
    tokenizer: Tokenizer
    part: Part
    """What config.json says of these steps; the last of them is, or will be, `part.until`."""

    def schedule(self) -> str:
        """What more steps than before mean for the learning rate, in a line; nothing where there are no more."""
        before, now = self.part.training, self.training
        if now.steps <= before.steps:
            return ""
        steps = max(Checkpoints(self.run.checkpoints).steps(), default=0)
        rate, was = learning_rate(now, steps), learning_rate(before, steps)
        change = f"is {rate:.2g}, and would have been {was:.2g}" if rate != was else f"is {rate:.2g}, as before"
        return (
            f"{now.steps} steps instead of {before.steps}: the {now.schedule} schedule now ends at step {now.steps}; "
            f"the learning rate of step {steps + 1} {change}"
        )

    def model_at_start(self, restored: bool) -> GPT2:
        """The model as training began, or any, if that of a checkpoint takes its place: `init_from` may be gone by then.

        Raises ConfigError if it cannot be trained in the memory that there is.
        """
        check_fits(self.model, self.training)
        if self.training.init_from and not restored:
            return GPT2.with_weights(self.model, int8.to_train(load_model(self.training.init_from)[0], self.training.init_from))
        return GPT2(self.model, self.training.seed)


def read_setup(folder: str | Path, given: dict[str, Any], accept_changes: bool, replays: int | None = None) -> Setup:
    """Read what the run in a folder is trained with. `given` are settings by name, of both kinds, and `preset`.

    Raises RunError that lists all settings that differ, unless changes are accepted; then those of the training are taken.
    What the model began as can never change. Who replays a step has the settings of that step, and computes with the threads
    and shards of the machine then.
    """
    run = Run(Path(folder))
    run.check()
    about = run.read_config()
    run.check_sizes(about.model)
    part = about.at(sys.maxsize if replays is None else replays)
    model, training, machine = about.model, part.training, part.machine
    if replays is not None:
        divided: dict[str, Any] = {name: machine[name] for name in ("threads", "shards") if name in machine}
        training = replace(training, **divided)
    then = {**asdict(model), **asdict(training)}
    meant = _meant(given, model, training)
    follows = replace(training, **{name: meant[name] for name in FOLLOWS if name in meant})  # with its own number of steps
    changed = {
        name: value for name, value in meant.items() if (getattr(follows, name) if name in FOLLOWS else value) != then[name]
    }
    fixed = [
        f"{name} = {value!r}, was {then[name]!r}"
        for name, value in changed.items()
        if name in FIXED or (name in KEPT and KEPT[name](value) != KEPT[name](then[name]))
    ]
    if fixed:
        raise RunError(f"{run.folder}: this cannot change within a run: {', '.join(fixed)}; begin another run, in a new --out")
    taken = max(Checkpoints(run.checkpoints).steps(), default=0)
    if replays is None and changed.get("steps", taken) < taken:
        raise RunError(f"{run.folder}: --steps {changed['steps']}: the run has {taken} steps: give at least {taken}")
    how = "minutes" if training.minutes else "steps"
    other = "steps" if training.minutes else "minutes"
    if replays is None and type(given.get(other)) in (int, float) and given[other]:
        raise RunError(f"{run.folder}: --{other} {given[other]:g}: the length of the run was given in {how}: give --{how}")
    longer = [how] if given.get(how, 0) > then[how] else []  # asked for by that flag, and not by a preset
    wrong = [
        f"{name} = {value!r}, was {then[name]!r}"
        for name, value in changed.items()
        if name not in HARMLESS and name not in longer
    ]
    others = machine.get("ranks", 1) != comm.current().size  # who asks for other ranks asks for another division of the work
    for name, here in arithmetic(training, about.parameters, part.library).items():
        was = machine.get(name, here)
        if here != was and not (others and name in ("ranks", "threads", "shards")):
            same = _same(name, was)
            fix = f" ({same} gives the same sums)" if same else ""
            wrong.append(f"{name} = {here} on this machine, was {was}{fix}")
    if wrong and not accept_changes:
        rest = "--accept-changes trains on with them" if replays is None else "so the step would differ"
        raise RunError(f"{run.folder}: {', '.join(wrong)}; {rest}")
    training = replace(training, **changed)
    return Setup(run, model, training, load_tokenizer(run.tokenizer), part)


def _same(name: str, was: int | str | None) -> str:
    """What makes this part of the arithmetic what it was; "" if nothing does."""
    if name in ("threads", "shards"):
        return f"--{name} {was}"
    if name == "kernels" and was == "numpy":
        return "TINYGRAD2_KERNELS=numpy"
    if name == "products" and os.environ.get("TINYGRAD2_PRODUCTS"):
        return "without TINYGRAD2_PRODUCTS, it"
    extra = {"openblas": "fast", "mkl": "mkl"}.get(str(was)) if name == "products" else None
    return f"pip install 'tinygrad2[{extra}]'" if extra else ""


def _meant(given: dict[str, Any], model: GPT2Config, training: TrainConfig) -> dict[str, Any]:
    """Those settings, with what a preset among them stands for, as where a run begins: its model is that of `init_from`, if
    there is one, and its vocabulary that of the tokenizer."""
    named = dict(given)
    preset = named.pop("preset", None)
    if preset is not None:
        of_model = {} if training.init_from else GPT2Config.of_preset(preset)
        of_training = TrainConfig.of_preset(preset)
        if training.minutes:
            of_training.pop("steps", None)
        named = {**of_model, **of_training, **named}
        if "vocab_size" not in given:
            named.pop("vocab_size", None)
    if named.get("d_ff") == 0:
        named["d_ff"] = 4 * model.d_model
    return named
