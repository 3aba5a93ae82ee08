"""A trained model with its tokenizer, in Python: text in, text out. `train` and `load` give one."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpt2.commands import train as command
from gpt2.errors import ConfigError, DataError
from gpt2.generation import Sampling, TextStream, steps
from gpt2.insight.evaluation import Evaluation, evaluate
from gpt2.model import GPT2
from gpt2.run.folder import load_model
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import prepare_whole
from gpt2.tokenizers import Tokenizer
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
        return prompt + "".join(self.stream(prompt, tokens, temperature, **settings))

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
        how = replace(Sampling(temperature, **sampling), vocab_size=self.tokenizer.vocab_size)
        ids = self.tokenizer.encode(prompt, special)
        if not len(ids):
            raise DataError("the prompt is empty: give a text to continue")
        text = TextStream(self.tokenizer, [stop] if isinstance(stop, str) else stop)
        for made in steps(self.model, ids[None], tokens, how, seed, slide):
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
        stride = context if stride is None else stride
        if not 1 <= stride <= context:
            raise ConfigError(f"stride = {stride} must be in 1..{context}, the context")
        ids = prepare_whole(Corpus.of_text("the text", text), self.tokenizer).val
        if len(ids) < 2:
            raise DataError(f"the text {text!r} has {counted(len(ids), 'token')}; give at least 2")
        with Shards(0, 0, max(1, len(ids) // context)) as shards:
            return evaluate(self.model, self.tokenizer, ids, stride, shards)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` of transformers load: see GPT2.save_pretrained."""
        self.model.save_pretrained(folder, self.tokenizer)


def load(folder: str | Path, best: bool = False) -> Trained:
    """What was trained into a run folder, or is in a Hugging Face GPT-2 folder. Raises RunError.

    Of a run they are the last weights or, if they are to be the `best`, those with the lowest validation loss.
    """
    return Trained(*load_model(folder, best), Path(folder))


def train(**settings: Any) -> Trained:
    """Train as `gpt2 train` does, which says what its settings are: those with `-` have `_` here. It prints what that prints.

    Ctrl-C ends it after the step: a checkpoint is saved, and what is trained so far is returned. Raises ConfigError for a
    setting that there is not, and an exception of gpt2/errors.py for whatever else the command refuses.

    Example:
        >>> run = gpt2.train(data="my.txt", steps=500, out="runs/mine")
    """
    parser = argparse.ArgumentParser(add_help=False)
    command.arguments(parser)
    names = [action.dest for action in parser._actions]
    for name in settings.keys() - names:
        near = difflib.get_close_matches(name, names, 1)
        raise ConfigError(f"train has no setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    args, given = parser.parse_args([]), {name: _plain(value) for name, value in settings.items()}
    for name, default in vars(args).items():  # config.py checks the types of the others
        kind = bool if default is False else str
        if (value := given.get(name)) is not None and type(value) is not kind:
            raise ConfigError(f"{name} = {value!r} is {type(value).__name__}; it must be {kind.__name__}")
    vars(args).update(given)
    run, result = command.trained(args)
    return replace(load(run.folder), result=result)


def _plain(value: Any) -> Any:
    """Paths as text, also those of a list."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
