"""Going on with a run: as it was begun, or with changes that were asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import RunError
from gpt2.model import GPT2
from gpt2.run.folder import Run, load_model
from gpt2.text.corpora import Corpus
from gpt2.tokenizers import Tokenizer, load_tokenizer
from gpt2.training.memory import check_fits
from gpt2.training.mpi import comm
from gpt2.training.shards import arithmetic

HARMLESS = ("data", "distributed", "zero", "rank_timeout")
"""Settings of which the result does not depend: not on where the text is, as long as it is the same (see `check_corpus`)."""


@dataclass(frozen=True)
class Setup:
    """What a run was begun with, with the changes that are accepted."""

    run: Run
    model: GPT2Config
    training: TrainConfig
    tokenizer: Tokenizer
    corpus_sha256: str

    def model_at_start(self) -> GPT2:
        """The model as training began. Raises ConfigError if it cannot be trained in the memory that there is."""
        check_fits(self.model, self.training)
        if self.training.init_from:
            return GPT2.with_weights(self.model, load_model(self.training.init_from)[0].state_dict())
        return GPT2(self.model, self.training.seed)

    def check_corpus(self, corpus: Corpus, accept_changes: bool, fix: str = "--accept-changes goes on with it") -> None:
        """Raise RunError if the text is another one than before."""
        if corpus.sha256 != self.corpus_sha256 and not accept_changes:
            raise RunError(
                f"{self.run.folder}: the text of {self.training.data!r} has changed: its sha256 is {corpus.sha256}, and was "
                f"{self.corpus_sha256}; {fix}"
            )


def read_setup(folder: str | Path, given: dict[str, Any], accept_changes: bool, replays: bool = False) -> Setup:
    """Read what the run in a folder was begun with. `given` are settings by name, of both kinds.

    Raises RunError that lists all settings that differ, unless changes are accepted; then those of the training are taken.
    The shape of the model can never change. Who replays a step computes with the threads and shards of the machine then.
    """
    run = Run(Path(folder))
    run.check()
    about = run.read_config()
    run.check_sizes(about.model)
    model, training, machine = about.model, about.training, about.machine
    if replays:
        then: dict[str, Any] = {name: machine[name] for name in ("threads", "shards") if name in machine}
        training = dataclasses.replace(training, **then)
    now = {name: value for name, value in given.items() if name != "preset"}
    names = {f.name for f in dataclasses.fields(GPT2Config)}
    shape = [
        f"{name} = {v!r}, was {getattr(model, name)!r}"
        for name, v in now.items()
        if name in names and v != getattr(model, name)
    ]
    if shape:
        raise RunError(
            f"{run.folder}: the model of a run cannot change: {', '.join(shape)}; start another run, with --init-from {folder}"
        )
    changed = {name: value for name, value in now.items() if name not in names and value != getattr(training, name)}
    wrong = [f"{name} = {value!r}, was {getattr(training, name)!r}" for name, value in changed.items() if name not in HARMLESS]
    others = machine.get("ranks", 1) != comm.current().size  # who asks for other ranks asks for another division of the work
    for name, here in arithmetic(training, about.parameters).items():
        was = machine.get(name, here)
        if here != was and not (others and name in ("ranks", "threads", "shards")):
            same = f"--{name} {was}" if name in ("threads", "shards") else "TINYGRAD2_KERNELS=numpy" * (was == "numpy")
            fix = f" ({same} gives the same sums)" if same else ""
            wrong.append(f"{name} = {here} on this machine, was {was}{fix}")
    if wrong and not accept_changes:
        rest = "it cannot be the same step here" if replays else "--accept-changes goes on all the same"
        raise RunError(f"{run.folder}: {', '.join(wrong)}; {rest}")
    return Setup(run, model, dataclasses.replace(training, **changed), load_tokenizer(run.tokenizer), about.corpus.sha256)
