"""A run folder: everything that is known of one training, in files that other programs can read."""

from __future__ import annotations

import contextlib
import difflib
import errno
import glob
import hashlib
import json
import math
import os
import platform
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import DamagedError, RunError
from gpt2.files import KINDS, MOST_TOKENIZER, naming, open_itself, open_regular, read_json, read_regular
from gpt2.model import GPT2
from gpt2.run.checkpoints import NAME, Checkpoint, Checkpoints
from gpt2.run.description import NO_RUN, CorpusFacts, Description, Part, read_description
from gpt2.run.lock import lock
from gpt2.run.metrics import Log, Recorded, history
from gpt2.text.corpora import Corpus
from gpt2.tokenizers import BPETokenizer, Tokenizer, load_tokenizer
from gpt2.weights import hugging_face
from gpt2.weights.safetensors import check_fit, read_shapes, read_weights, write_weights
from tinygrad2.files import unfinished, write_atomically
from tinygrad2.types import Array

Shape = tuple[int, ...]

REASON = "gpt2 train: error: "
"""How the file begins in which a process of several says why it has ended their training."""

LOCK = re.compile(rb"(?:run ([0-9a-f]{16})\n)?\d*")
"""The file `lock`: the mark of its run, by which a run knows what is its own, and the process. Empty until training begins."""

FILES = (
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "metrics.jsonl",
    "samples.txt",
    "loss.png",
    "training.png",
    "report.html",
    "lock",
    "gave-up.txt",
)
"""The names of the files in a run folder."""


class Run:
    """The files of a run folder.

    config.json        every setting, the corpus by hash, versions and machine
    tokenizer.json     the vocabulary
    checkpoints/       all that is needed to go on: the last two, the best, and others as asked
    model.safetensors  the weights at the end
    metrics.jsonl      one row per step, only ever appended to
    samples.txt        what the model wrote at each evaluation
    loss.png           the loss curves
    training.png       learning rate, gradients, updates and activations
    report.html        these and more on one page, also while it trains
    lock               the mark of the run, and the process that trains into it
    gave-up.txt        after a job of several ranks that failed: why; the other ranks, which may not see the folder, leave it
                       beside the folder, in NAME.gave-up-RANK.txt

    A folder may come from a stranger. So nothing in it is a link: `check` refuses one that holds any. What is read from it is
    bounded and checked, and all that is written, but for the two logs and the lock, takes its place when it is whole.
    """

    def __init__(self, folder: Path, of_all: Path | None = None) -> None:
        """`of_all` is the folder of the main process, where `folder` is that of another rank, for what it need not keep."""
        self.folder, self.of_all = folder, Path(os.path.abspath(of_all or folder))
        self.checkpoints = folder / "checkpoints"
        self.config, self.tokenizer, self.model, self.metrics, self.samples, *others = (folder / name for name in FILES)
        self.loss_plot, self.training_plot, self.report, self.lock, self.reason = others
        self.mark = ""  # until it is locked
        self.chosen: list[str] = []
        """Why its settings are what they are, in lines for config.json, where a rule chose them."""
        self.made = False
        """Whether the folder was not there before `create`."""

    @classmethod
    def create(cls, folder: Path) -> Run:
        """A new folder for a run, or an empty one, or one in which a run was killed before it had begun.

        Raises RunError, and changes nothing, for any other.
        """
        run = cls(folder)
        run.made = not folder.exists()
        with naming(f"--out {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        run.check_new()
        return run

    def check_can_be_made(self, needed: int = 0) -> None:
        """Raise RunError for what `create` will refuse, and where a file of so many bytes does not fit: before long work."""
        there = next(path for path in (self.of_all, *self.of_all.parents) if os.path.lexists(path))
        with naming(f"--out {self.folder}"):
            if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            if not there.is_dir():
                what = "it" if there == self.of_all else there
                raise RunError(f"--out {self.folder}: {what} is a file; give a folder")
            free = shutil.disk_usage(there).free
        if free < needed:
            raise RunError(
                f"--out {self.folder}: a checkpoint takes {needed / 1e6:,.1f} MB, and only {free / 1e6:,.1f} MB are free; "
                "make room, or give a folder on another disk"
            )
        if there == self.of_all:
            self.check_new()

    def take_back(self) -> None:
        """Remove what was written before anything was recorded: the training was refused, or failed, before it had begun."""
        own = [self.config, self.tokenizer, self.metrics, self.samples, self.lock, Checkpoints(self.checkpoints).path(0)]
        with contextlib.suppress(OSError, RunError), self.locked():  # what is in the way is not of this training
            if self.metrics.exists() and self.metrics.stat().st_size:
                return
            for path in (*own, *self.leftovers(self.mark)):
                path.unlink(missing_ok=True)
            if self.checkpoints.exists():
                self.checkpoints.rmdir()
            if self.made:
                self.folder.rmdir()

    def check_new(self) -> None:
        """Raise RunError if there is anything in the folder but what a run leaves that was killed before it had begun."""
        self.check()
        out, own = f"--out {self.folder}", set()
        with naming(out):
            names = set(os.listdir(self.folder))
            if self.lock.name in names:
                with open_regular(self.lock, links=False) as file:
                    content = file.read(100)
                if LOCK.fullmatch(content):
                    mark = _mark_in(content)
                    own = {self.lock.name, *(path.name for path in self.leftovers(mark) if mark)}
                    own |= {self.tokenizer.name, self.reason.name} if content else set()
        if self.config.name in names:
            raise RunError(f"{out}: already holds a run; --resume continues it, or choose another folder")
        if self.checkpoints.name in names:
            raise RunError(f"{out}: holds checkpoints but no {self.config.name}: bring it back, or choose another folder")
        if others := sorted(names - own):
            raise RunError(f"{out}: is not empty (it holds {others[0]!r}), and not a run; choose another folder")

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A folder that holds a trained model. Raises RunError naming what is missing, or what no run folder holds."""
        run = cls(Path(folder))
        if not run.folder.is_dir():
            raise RunError(f"{folder}: no such folder{near(run.folder)}")
        run.check()
        if is_hugging_face(run.folder):
            raise RunError(f"{folder}: {NO_RUN}")
        if not run.config.exists() and (runs := runs_in(run.folder)):
            raise RunError(f"{folder}: is not a run; it holds {some(runs)}")
        for path in (run.config, run.tokenizer):
            if not path.exists():
                raise RunError(f"{folder}: holds no trained model: {path.name} is missing")
        return run

    def check(self) -> None:
        """Raise RunError if anything in the folder, or among its checkpoints, is not the kind of thing that it is in a run."""
        try:
            entries = list(os.scandir(self.folder))
            if any(entry.name == self.checkpoints.name and entry.is_dir(follow_symlinks=False) for entry in entries):
                entries += os.scandir(self.checkpoints)
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunError(f"{error.filename}: cannot be read: {error.strerror}") from error
        for entry in entries:
            try:
                kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
            except FileNotFoundError:  # a training has just renamed or removed it
                continue
            if entry.name == self.checkpoints.name:
                allowed = [stat.S_IFDIR]
            else:
                is_ours = entry.name in FILES or NAME.fullmatch(entry.name)
                allowed = [stat.S_IFREG] if is_ours else [stat.S_IFREG, stat.S_IFDIR]
            if kind not in allowed:
                if entry.name == self.config.name and is_hugging_face(self.folder):  # its cache is made of links
                    raise RunError(f"{self.folder}: {NO_RUN}")
                what = KINDS.get(kind, "a file")
                raise RunError(f"{entry.path} is {what}; a run folder holds files and its checkpoints: put the real one there")

    def leftovers(self, mark: str) -> list[Path]:
        """What a process with that mark was writing when it was killed."""
        return [*unfinished(self.folder, mark), *unfinished(self.checkpoints, mark)]

    def describe(
        self,
        model: GPT2,
        training: TrainConfig,
        corpus: Corpus,
        tokenizer: Tokenizer,
        arithmetic: Mapping[str, int | str],
        step: int = 0,
    ) -> None:
        """Write config.json and tokenizer.json, unless they say already what the run is trained with after a step.

        Where transformers can read model.safetensors as it is, config.json says it in their words too.
        `arithmetic` is what decides the order of sums, for `Part.machine`.
        """
        about = Description(
            model=model.config,
            training=training,
            parameters=model.num_parameters(),
            corpus=CorpusFacts(corpus.name, corpus.characters, corpus.sha256, corpus.path),
            machine={"system": platform.platform(), "cores": os.cpu_count(), **arithmetic},
            versions={"python": platform.python_version(), "numpy": np.__version__},
            command=sys.argv[1:],
            chosen=self.chosen,
        )
        if os.path.lexists(self.config):  # it goes on
            then = self.read_config()

            def same(part: Part) -> bool:
                here = all(part.machine.get(name, value) == value for name, value in arithmetic.items())
                return here and (training, corpus.sha256) == (part.training, part.corpus.sha256)

            about.before, about.chosen = then.up_to(step), then.chosen
            if about.before and same(about.before[-1]):
                about.before.pop()
            if same(then.at(sys.maxsize)) and about.before == then.before and about.corpus == then.corpus:
                return
        self._write(self.tokenizer, tokenizer.to_text())
        also = (
            hugging_face.described(model.config, tokenizer.end_of_text) if hugging_face.is_read_as_it_is(model.config) else {}
        )
        self._write(self.config, json.dumps({**msgspec.to_builtins(about), **also}, indent=2) + "\n")

    def _write(self, path: Path, text: str) -> None:
        with naming(path):
            write_atomically(path, text.encode(), self.mark)

    def read_config(self) -> Description:
        """config.json. Raises RunError: see `read_description`."""
        return read_description(self.config)

    def save_model(self, model: GPT2, step: int) -> None:
        """Write the weights of a step, with what they belong to; an older file stays whole until the new one is."""
        about = {**self.belongs_to(model.config), "step": str(step)}
        write_weights(self.model, model.state_dict(), about, self.mark)

    def belongs_to(self, config: GPT2Config) -> dict[str, str]:
        """What weights are worthless without: a tokenizer with other ids gives nonsense and no error. Raises RunError."""
        with naming(self.tokenizer, "read"):
            tokenizer = hashlib.sha256(read_regular(self.tokenizer, MOST_TOKENIZER, links=False)).hexdigest()
        return {"config": config.as_text(), "tokenizer_sha256": tokenizer}

    def load_model(self, best: bool = False) -> tuple[GPT2, Tokenizer]:
        """The trained model, in evaluation mode, and its tokenizer. Raises RunError naming the file and what is wrong.

        The weights are those at the end; of a training that has not ended, those of its last checkpoint; or, if they are to be
        the `best`, those of the checkpoint with the lowest validation loss.
        """
        self.check()
        tokenizer = load_tokenizer(self.tokenizer)
        config = self.read_config().model
        source, weights, saved_with = self._weights(best)
        for name, value in self.belongs_to(config).items():
            if saved_with.get(name) != value:
                raise RunError(f"{self.config if name == 'config' else self.tokenizer} is not the one {source} was saved with")
        check_fit(GPT2.shapes(config), {name: array.shape for name, array in weights.items()}, self.config, source)
        return GPT2.with_weights(config, weights).eval(), tokenizer

    def _weights(self, best: bool) -> tuple[Path, dict[str, Array], dict[str, str]]:
        """Where the weights are, what they are, and what they belong to."""
        checkpoints = Checkpoints(self.checkpoints)
        checkpoint: Checkpoint | None = None
        damaged: list[str] = []
        if best:
            step = best_step(history(self.metrics))
            if step not in checkpoints.steps():
                raise RunError(f"--best: step {step} has the lowest validation loss, and {checkpoints.folder} has none of it")
            checkpoint = checkpoints.load(step)
        elif os.path.lexists(self.model):
            stored, metadata = read_weights(self.model, must_be_ours=True)
            ended = metadata.get("step", "")  # of older ones it is not known
            if any(step > (int(ended) if ended.isdecimal() else -1) for step in checkpoints.steps()):  # it went on since then
                checkpoint = checkpoints.latest(damaged.append)
            if checkpoint is None:
                return self.model, {name: entry.read() for name, entry in stored.items()}, metadata
        else:
            checkpoint = checkpoints.latest(damaged.append)
        if checkpoint is None:
            raise RunError("; ".join(damaged) or f"{self.folder}: holds no trained model: {self.model.name} is missing")
        kind = "average." if any(name.startswith("average.") for name in checkpoint.arrays) else "model."
        weights = {name.removeprefix(kind): array for name, array in checkpoint.arrays.items() if name.startswith(kind)}
        return checkpoints.path(checkpoint.step), weights, checkpoint.about["belongs_to"]

    def check_sizes(self, config: GPT2Config) -> None:
        """Raise RunError if its checkpoints are not of a model of that configuration: before the model is built."""
        checkpoints = Checkpoints(self.checkpoints)
        for path in map(checkpoints.path, reversed(checkpoints.steps())):
            with contextlib.suppress(DamagedError):  # whether another one is whole is for `last_checkpoint` to say
                shapes = read_shapes(path)
                break
        else:
            return
        check_fit(((f"model.{name}", shape) for name, shape in GPT2.shapes(config)), shapes, self.config, path)

    def last_checkpoint(self, say: Callable[[str], object]) -> Checkpoint | None:
        """Where a training goes on: the last whole checkpoint, or None if it was killed before it had saved anything.

        `say` is told of damaged ones that were passed over. Raises RunError, and changes nothing, where steps were recorded
        and no checkpoint of them can be loaded.
        """
        damaged: list[str] = []
        checkpoint = Checkpoints(self.checkpoints).latest(damaged.append)
        if checkpoint is None and (damaged or self.model.exists() or (self.metrics.exists() and self.metrics.stat().st_size)):
            raise RunError(
                f"{self.folder}: holds steps, but no checkpoint to continue from "
                f"({'; '.join(damaged) or f'{self.checkpoints} holds none'}): restore one, or begin another run in a new --out"
            )
        for message in damaged:
            say(message)
        return checkpoint

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While this is open, no other process can train into the folder. Raises RunError if one does.

        A lock that was not there is taken away again if the training did not `begin`.
        """
        new = not os.path.lexists(self.lock)
        with naming(self.lock):
            if not new:
                Log.check(self.lock, 0)
            descriptor = open_itself(self.lock, os.O_RDWR | os.O_CREAT)
        with open(descriptor, "r+b", buffering=0) as file:
            content = file.read(100)
            try:
                lock(file)
            except BlockingIOError:
                process = content.split(b"\n")[-1].decode(errors="replace") or "?"
                raise RunError(
                    f"{self.folder}: process {process} is training into it; kill {process} ends the training, with a checkpoint"
                ) from None
            self._lock, self.mark = file, _mark_in(content) or secrets.token_hex(8)
            try:
                yield
            finally:
                if new and not os.fstat(descriptor).st_size:
                    with contextlib.suppress(PermissionError):  # Windows removes no file that is open: an empty one stays
                        self.lock.unlink(missing_ok=True)

    def gave_up(self) -> dict[Path, str]:
        """Why the ranks of the job before this one gave up, as each of them has left it, and where."""
        beside = self.of_all.parent.glob(f"{glob.escape(self.of_all.name)}.gave-up-*.txt")
        found = {}
        for path in (self.of_all / self.reason.name, *sorted(beside)):
            with contextlib.suppress(OSError):
                content = read_regular(path, 1 << 16, links=False).decode(errors="backslashreplace")
                if content.startswith(f"{REASON}rank "):
                    found[path] = " ".join(content.removeprefix(REASON).split())
        return found

    def begin(self) -> None:
        """Say in the lock that this process trains, and remove what is not true any more once it does.

        That is what a killed process of this run was writing, and why an earlier job gave up.
        Raises RunError, before anything changes, if the folder or that of the checkpoints cannot be written.
        """
        for folder in (self.folder, self.checkpoints):
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                raise RunError(f"{folder}: cannot be written: {os.strerror(errno.EACCES)}")
        content = f"run {self.mark}\n{os.getpid()}".encode()
        with naming(self.folder):
            self._lock.seek(0)
            self._lock.write(content)
            self._lock.truncate()
            for path in (*self.leftovers(self.mark), *self.gave_up()):
                path.unlink(missing_ok=True)

    def reason_of(self, rank: int) -> Path:
        """Where a process of several says why it has ended their training."""
        return self.of_all.with_name(f"{self.of_all.name}.gave-up-{rank}.txt") if rank else self.reason


def runs_in(folder: Path) -> list[Path]:
    """The runs in a folder, sorted; none of what is no folder, or cannot be read."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: no folder can have that name
        return sorted(path for path in folder.iterdir() if (path / FILES[0]).exists() and (path / FILES[3]).exists())
    return []


def some(runs: list[Path]) -> str:
    """The first three of them."""
    return ", ".join(map(str, runs[:3])) + f" and {len(runs) - 3} more" * (len(runs) > 3)


def near(folder: Path) -> str:
    """`; did you mean FOLDER?` for one with a name that hardly differs, beside it or in runs/; or nothing."""
    there: dict[str, Path] = {}
    for place in (Path("runs"), folder.parent):
        with contextlib.suppress(OSError):
            there |= {path.name: path for path in place.iterdir() if (path / "config.json").exists()}
    found = difflib.get_close_matches(folder.name, there, 1)
    return f"; did you mean {there[found[0]]}?" if found else ""


def _mark_in(content: bytes) -> str:
    found = LOCK.match(content)
    return (found[1] or b"").decode() if found else ""


def best_step(rows: Iterable[Recorded]) -> int:
    """The step with the lowest validation loss, the first of equals. Raises RunError if there was no evaluation."""
    losses = ((row["val_loss"], row["step"]) for row in rows if math.isfinite(row.get("val_loss", math.nan)))
    _, step = min(losses, default=(0.0, None))
    if step is None:
        raise RunError("the run has no evaluation yet, so it has no best step: leave --best out")
    return step


def is_hugging_face(folder: str | Path) -> bool:
    """Whether a folder is of Hugging Face's kind, where config.json may be a link, and not a run. Raises RunError."""
    path = Path(folder) / "config.json"
    try:
        return os.path.lexists(path) and hugging_face.is_theirs(read_json(path))
    except RunError:
        if path.is_symlink():  # to something else: a run folder that Run.check refuses
            return False
        raise


def load_model(folder: str | Path, best: bool = False) -> tuple[GPT2, Tokenizer]:
    """The model and the tokenizer in a run folder (see Run.load_model), or in a Hugging Face folder. Raises RunError."""
    path = Path(folder)
    if not is_hugging_face(path):
        return Run.open(folder).load_model(best)
    model = GPT2.from_pretrained(path)
    alone = not any((path / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    tokenizer = BPETokenizer.gpt2() if alone and model.config.vocab_size == 50257 else load_tokenizer(path)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise RunError(f"{path}: the tokenizer has {tokenizer.vocab_size} tokens, the model only {model.config.vocab_size}")
    return model, tokenizer


def unused_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3... that is not there yet."""
    folder = Path("runs", name)
    count = 1
    while folder.exists():
        count += 1
        folder = Path("runs", f"{name}-{count}")
    return folder
