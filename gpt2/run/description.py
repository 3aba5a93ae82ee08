"""What config.json says of a run: the settings, the text and the machine of each part of the training."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import msgspec

from gpt2.config import LONGEST_TEXT, GPT2Config, TrainConfig
from gpt2.errors import RunError
from gpt2.files import conform, read_json
from gpt2.run.metrics import StepNumber, Text
from gpt2.weights import hugging_face

NO_RUN = "is a Hugging Face model, not a run: sample, inspect, eval --data and train --init-from take it"
"""What to say of such a folder where only a run will do."""

PathOfText = Annotated[str, msgspec.Meta(max_length=2 * LONGEST_TEXT, pattern="^[^\\x00]*$")]


class CorpusFacts(msgspec.Struct):
    """The text of a run: `sha256` as in corpora.Survey; `path` as in corpora.Corpus, empty in older runs."""

    name: str
    characters: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    path: PathOfText | tuple[PathOfText, ...] = ""


class Part(msgspec.Struct):
    """What a run was trained with up to a step. `machine` has what decides the order of sums, by the names of shards.py."""

    until: StepNumber
    training: TrainConfig
    corpus: CorpusFacts
    machine: dict[str, int | str | None]

    @property
    def library(self) -> str:
        """Of matrix products."""
        return str(self.machine.get("products", ""))


class Description(msgspec.Struct):
    """What config.json holds: with what the run is trained now, and `before` that."""

    model: GPT2Config
    training: TrainConfig
    parameters: Annotated[int, msgspec.Meta(ge=1)]
    corpus: CorpusFacts
    machine: dict[str, int | str | None]
    versions: dict[str, str] = {}
    command: list[str] = []
    chosen: Annotated[list[Text], msgspec.Meta(max_length=100)] = []
    before: list[Part] = []

    def at(self, step: int) -> Part:
        """What a step was taken with."""
        now = Part(sys.maxsize, self.training, self.corpus, self.machine)
        return next((part for part in self.before if step <= part.until), now)

    def up_to(self, step: int) -> list[Part]:
        """What the steps up to one were taken with."""
        parts = [part for part in self.before if part.until < step]
        return [*parts, msgspec.structs.replace(self.at(step), until=step)] if step else []


def read_description(path: Path, links: bool = False) -> Description:
    """The config.json of a run. Raises RunError naming the field that is missing, or is not what it can be; and for a model of
    Hugging Face's kind, which has a file of that name too."""
    about = read_json(path, links=links)
    if hugging_face.is_theirs(about):
        raise RunError(f"{path.parent}: {NO_RUN}")
    try:
        for name, settings in (("model", GPT2Config), ("training", TrainConfig)):
            given = about.get(name)
            unknown = set(given if isinstance(given, dict) else ()) - {f.name for f in dataclasses.fields(settings)}
            if unknown:
                raise ValueError(f"its {name!r} has {min(unknown)!r}, which this version does not know")
        return conform(about, Description)
    except ValueError as error:  # ConfigError too
        raise RunError(f"{path} is damaged: {error}") from error
