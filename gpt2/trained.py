"""A trained model with its tokenizer, in Python: text in, text out. `train` and `load` give one."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands import train as command
from gpt2.commands.foreign import FLAGS_OF, SENTENCE_OF
from gpt2.config import at_least, typed
from gpt2.errors import ConfigError, DataError
from gpt2.generation import NextToken, Sampling, TextStream, steps
from gpt2.insight.evaluation import Evaluation, evaluate
from gpt2.model import GPT2
from gpt2.run.folder import Run, load_model
from gpt2.run.health import Verdicts, examine
from gpt2.run.metrics import history
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import prepare_whole
from gpt2.tokenizers import Tokenizer
from gpt2.tokenizers.base import to_utf8
from gpt2.training.loop import Result
from gpt2.training.shards import Shards
from tinygrad2.errors import counted


@dataclass(frozen=True, repr=False)
class Trained:
    """A model in evaluation mode, its tokenizer, the folder they are from and, of one just trained, how that ended.

    Example:
        >>> run = gpt2.load("runs/mine")
        >>> print(run.sample("Once", tokens=100))
    """

    model: GPT2
    tokenizer: Tokenizer
    folder: Path
    result: Result | None = None

    def __repr__(self) -> str:
        return f"Trained({str(self.folder)!r}, {self.model.num_parameters():,} parameters)"

    def sample(self, prompt: str, tokens: int = 200, temperature: float = 0.8, **settings: Any) -> str:
        """The prompt, and what the model writes after it; `settings` as of `stream`."""
        return typed("prompt", prompt, str) + "".join(self.stream(prompt, tokens, temperature, **settings))

    def stream(
        self,
        prompt: str,
        tokens: int = 200,
        temperature: float = 0.8,
        *,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        slide: int = 1,
        special: bool = False,
        **sampling: Any,
    ) -> Iterator[str]:
        """What the model writes after the prompt, part by part, at most so many tokens; it ends at one of `stop`, too.

        With `special`, `<|endoftext|>` in the prompt is that token. `sampling` is top_k, top_p, min_p and repetition_penalty:
        see `gpt2.generation.Sampling`. Raises DataError for a prompt that is empty, or has a character without a token.
        """
        tokens, seed, slide = at_least(0, "tokens", tokens), at_least(0, "seed", seed), at_least(1, "slide", slide)
        known = [f.name for f in fields(Sampling) if f.name != "vocab_size"]
        for name in sampling.keys() - known:
            raise ConfigError(
                f"there is no setting {name!r}" + _near(name, [*known, "tokens", "seed", "stop", "slide", "special"])
            )
        how = Sampling(temperature, **sampling, vocab_size=self.tokenizer.vocab_size)
        stops = [typed("stop", one, str) for one in (stop if isinstance(stop, list | tuple) else [stop])]
        to_utf8("".join(stops))  # raises for what no model writes
        if "" in stops:
            raise ConfigError("stop = '' is empty: give the text to end at, or leave it out")
        ids = self.tokenizer.encode(typed("prompt", prompt, str), typed("special", special, bool))
        if not len(ids):
            raise DataError("the prompt is empty: give a text to continue")
        return self._written(TextStream(self.tokenizer, stops), steps(self.model, ids[None], tokens, how, seed, slide))

    def _written(self, text: TextStream, every: Iterator[NextToken]) -> Iterator[str]:
        for made in every:
            yield text.feed(int(made.tokens[0]))
            if text.stopped:
                return
        yield text.finish()

    def evaluate(self, text: str, stride: int | None = None) -> Evaluation:
        """How well the model predicts a text: `loss`, `perplexity`, `bits_per_byte`, and `losses` of each token but the first.

        `stride` is how many tokens its windows are apart: the context, if it is not given. Raises DataError for a text of
        fewer than two tokens, and ConfigError for a stride beyond the context.
        """
        context = self.model.config.max_seq_len
        stride = context if stride is None else typed("stride", stride, int)
        if not 1 <= stride <= context:
            raise ConfigError(f"stride = {stride} must be in 1..{context}, the context")
        to_utf8(typed("text", text, str))  # raises for what is no text
        ids = prepare_whole(Corpus.of_text("the text", text), self.tokenizer).val
        if len(ids) < 2:
            raise DataError(f"the text {text!r} has {counted(len(ids), 'token')}; give at least 2")
        with Shards(0, 0, max(1, len(ids) // context)) as shards:
            return evaluate(self.model, self.tokenizer, ids, stride, shards)

    def health(self) -> Verdicts:
        """What `gpt2 health` says of the run: verdicts, the worst first. Raises RunError where there is no log of it."""
        run = Run.open(self.folder)
        config = run.read_config()
        return examine(config.model, config.training, history(run.metrics, skipped=True))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` of transformers load: see GPT2.save_pretrained."""
        self.model.save_pretrained(_folder(folder), self.tokenizer)


def load(folder: str | Path, best: bool = False) -> Trained:
    """What was trained into a run folder, or is in a Hugging Face GPT-2 folder. Raises RunError.

    Of a run they are the last weights or, if they are to be the `best`, those with the lowest validation loss.
    """
    path = _folder(folder)
    return Trained(*load_model(path, typed("best", best, bool)), path)


def _folder(name: Any) -> Path:
    """The path of a folder. Raises ConfigError for what is none."""
    if not typed("folder", _plain(name), str).strip():
        raise ConfigError(f"folder = {name!r} is empty: give the folder of a run or a model")
    return Path(name)


def _near(name: str, known: Sequence[str]) -> str:
    """What is said of a name that there is not: what it may mean, as on the command line."""
    word = name.replace("_", "-")
    theirs = [flag[2:].replace("-", "_") for flag in FLAGS_OF.get(word, ())]
    near = [one for one in theirs if one in known] or difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; {SENTENCE_OF[word]}" if word in SENTENCE_OF else ""


def train(*texts: str | os.PathLike[str], **settings: Any) -> Trained:
    """Train as `gpt2 train` does, which says what its settings are: those with `-` have `_` here. It prints what that prints.

    Ctrl-C ends it after the step: a checkpoint is saved, and what is trained so far is returned. Raises ConfigError for a
    setting that there is not, and an exception of gpt2/errors.py for whatever else the command refuses.

    Example:
        >>> run = gpt2.train("my.txt", steps=500, out="runs/mine")
    """
    if texts:
        if "data" in settings:
            raise ConfigError(
                f"data = {settings['data']!r} and {_plain(texts)[0]!r} are both texts to train on: give all as data"
            )
        settings["data"] = texts[0] if len(texts) == 1 else texts
    parser = argparse.ArgumentParser(add_help=False)
    command.arguments(parser)
    names = [action.dest for action in parser._actions]
    for name in settings.keys() - names:
        raise ConfigError(f"train has no setting {name!r}" + _near(name, names))
    args, given = parser.parse_args([]), {name: _plain(value) for name, value in settings.items()}
    for name, default in vars(args).items():  # config.py checks the types of the others
        kind = bool if default is False else str
        if (value := given.get(name)) is not None and type(value) is not kind:
            raise ConfigError(f"{name} = {value!r} is {type(value).__name__}; it must be {kind.__name__}")
    vars(args).update(given)
    run, result = command.trained(args)
    return replace(load(run.folder), result=result)


def _plain(value: Any) -> Any:
    """Paths as text, also those of a list, and numbers of NumPy as Python's."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value
