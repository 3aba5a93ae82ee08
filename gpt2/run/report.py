"""report.html: a run on one page that needs no network, and that is renewed while it trains."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import re
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from html import escape
from importlib.resources import files

from gpt2.files import open_regular
from gpt2.run.description import Description
from gpt2.run.folder import Run
from gpt2.run.health import Summary, judge
from gpt2.run.live import Renewed
from gpt2.run.metrics import Recorded, bits_per_byte, history
from gpt2.run.plots import draw_loss, draw_training
from gpt2.terminal import one_line
from tinygrad2.files import write_anew
from tinygrad2.html import table
from tinygrad2.language import Say, chosen, translation

SAMPLES = 20
"""The last ones are shown."""

MOST = 1 << 20
"""Bytes of them that are read, from the end."""

PATIENCE = 600.0
"""Seconds without a new page, after which one that is open reloads itself no more; at least ten times those between two."""

SCRIPT = "<script>"

MARK = b'<meta name="generator" content="gpt2, of runs">'
"""What a page has that may be overwritten."""


class Report(Renewed):
    """The page of a run while it trains."""

    share, every = 0.03, 5.0
    last = math.inf
    """When it was written, by `time.monotonic`."""

    def draw(self) -> None:
        """Write it."""
        now = time.monotonic()
        write_report(self.run, max(now - self.last, self.every))
        self.last = now

    def end(self) -> None:
        """Let a page that was written here reload itself no more: the run trains no more."""
        if self.last < math.inf:
            with contextlib.suppress(OSError):
                write_anew(self.run.report, _still(self.run.report.read_text("utf-8")).encode(), MARK)


def write_report(run: Run, renewed_every: float = 0.0) -> None:
    """Write the report.html of a run as it is now; one that is renewed every so many seconds reloads itself.

    Raises OSError and RunError.
    """
    write_anew(run.report, page(run, renewed_every).encode("utf-8", "replace"), MARK)


def _still(text: str) -> str:
    return f"{text[: text.index(SCRIPT)]}</body></html>\n" if SCRIPT in text else text


def page(run: Run, renewed_every: float = 0.0) -> str:
    """The page. Whatever comes from the run is escaped."""
    say, about, now = translation("gpt2.run"), run.read_config(), time.time()
    evaluated: deque[Recorded] = deque(maxlen=1)
    rows = _noting(evaluated, history(run.metrics, skipped=True) if run.metrics.exists() else ())
    summary = Summary(about.model, about.training, rows)
    step, of, begun = summary.step or 0, about.training.steps, summary.step is not None
    name = one_line(run.folder.absolute().name)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    state = say(f"step {step:,} of {of:,}") + " · " + say(f"written at {at}")
    fresh = say("it reloads itself while the run trains")
    old = say("nothing new has come for a while: the run waits, or has ended without a last page")
    text = say(f"{about.corpus.name}, {about.corpus.characters:,} characters") + " · " + say(f"{about.parameters:,} parameters")
    parts = [
        f"<h1>{escape(name)}</h1><p>{escape(one_line(text))}</p>",
        f'<p id="state" data-fresh="{escape(fresh)}" data-old="{escape(old)}">{escape(state)}</p>',
        _picture(say("Losses"), run, draw_loss) if begun else "",
        *(_compared(row, say) for row in evaluated),
        titled(say("Health"), judge(summary)._repr_html_() if begun else say("no step yet")),
        _picture(say("Inside"), run, draw_training) if begun else "",
        _samples(run, say),
        titled(say("To go on"), _code(suggested(run, step < of))),
        _settings(about, say),
    ]
    return document(name, "".join(parts), now, max(PATIENCE, 10 * renewed_every) if renewed_every else 0.0)


def document(title: str, content: str, written: float = 0.0, patience: float = 0.0) -> str:
    """A whole page around some HTML, which reloads itself until it is `patience` seconds older than when it was written."""
    found = {
        "language": {"en": "en", "zh": "zh-CN"}[chosen()],
        "title": escape(title),
        "written": f"{written:.0f}",
        "patience": f"{patience:.0f}",
        "content": content,
    }
    text = files("gpt2.run").joinpath("report.html").read_text("utf-8")
    text = re.sub(r"@(\w+)@", lambda place: found.get(place[1], place[0]), text)
    return text if patience else _still(text)


def suggested(run: Run, is_open: bool, prompt: str = "", once: bool = False, flags: str = "") -> Iterator[str]:
    """The commands to try next on a run, which `is_open` if it can go on; a text that is read `once` must be given again.

    The prompt is in a shell's quotes.
    """
    name = f"./{run.folder}" if str(run.folder).startswith("-") else str(run.folder)
    folder = one_line(shlex.quote(name))  # what a shell is given must do what it says
    if is_open:
        yield f"gpt2 train --resume --out {folder}{flags}" + " --data -  # and the same text again" * once
        yield f"gpt2 plot {folder}"
    yield f"gpt2 sample {folder}{f' --prompt {prompt}' * bool(prompt)} --tokens 300 --temperature 0.8"
    yield f"gpt2 eval {folder}" + " --data -  # and a text" * once
    yield f"gpt2 inspect {folder}"


def titled(title: str, content: str) -> str:
    """Some HTML under a title; what is too wide can be moved sideways, by keyboard too."""
    title = escape(title)
    return f'<h2>{title}</h2><div class="wide" role="region" aria-label="{title}" tabindex="0">{content}</div>'


def _code(lines: Iterable[str]) -> str:
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _picture(title: str, run: Run, draw: Callable[[Run, io.BytesIO], None]) -> str:
    content = io.BytesIO()
    draw(run, content)
    return picture(title, content)


def picture(title: str, content: io.BytesIO) -> str:
    """A drawing with its title, as a part of a page."""
    data = base64.b64encode(content.getvalue()).decode()
    return titled(title, f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">')


def _noting(evaluated: deque[Recorded], rows: Iterable[Recorded]) -> Iterator[Recorded]:
    """The same rows; the evaluations among them are noted."""
    for row in rows:
        if "val_loss" in row:
            evaluated.append(row)
        yield row


def losses(row: Recorded) -> list[tuple[str, str, str]]:
    """The loss of an evaluation and what it is compared with: name, nats per token, and bits per byte where they are known."""
    found = {"validation": row["val_loss"], **row.get("baselines", {})}
    bits = {name: bits_per_byte({**row, "val_loss": value}) for name, value in found.items()}
    return [(name, f"{nats:.3f}", "" if (of := bits[name]) is None else f"{of:.3f}") for name, nats in found.items()]


def _compared(row: Recorded, say: Say) -> str:
    cells = [(say(name), *values) for name, *values in losses(row)]
    return table((say("loss"), say("nats per token"), say("bits per byte")), cells)


def _samples(run: Run, say: Say) -> str:
    """What it wrote, the last first."""
    if not run.samples.exists():
        return ""
    with open_regular(run.samples, links=False) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - MOST))
        text = file.read(MOST).decode("utf-8", "replace")
    shown = []
    for part in reversed(text.split("\n--- ")[-SAMPLES:]):
        title, _, written = part.removeprefix("--- ").partition("\n")
        known = re.match(r"step (\d+), validation loss ([^\s,]+)", title)
        title = say(f"step {known[1]}, validation loss {known[2]}") if known else one_line(title)
        shown.append(f"<h3>{escape(title)}</h3>{_code([written.strip()])}")
    return titled(say("What it wrote"), "".join(shown)) if shown else ""


def _settings(about: Description, say: Say) -> str:
    """Those of the model and of the training, and why they were chosen, where that is known."""
    model = {name: getattr(about.model, name) for name in about.model.__dataclass_fields__}
    rows = [(name, one_line(str(value))) for name, value in {**model, **about.training.chosen()}.items()]
    why = _code(about.chosen) if about.chosen else ""
    command = _code([one_line(shlex.join(["gpt2", *about.command]))]) if about.command else ""
    return titled(say("Settings"), command + why + table((say("setting"), say("value")), rows))
