"""A training in a notebook: a bar where there is no terminal, one picture that is renewed, and the verdicts. Elsewhere nothing
changes. What stands for IPython here keeps what it is asked to show; that real kernels do the same shows `make notebooks`."""

import io
import json
import sys
import types

import pytest

import gpt2
from gpt2 import terminal
from gpt2.cli import main
from gpt2.run import live
from gpt2.run.health.verdict import Verdict, Verdicts

SMALL = {"d_model": 16, "num_layers": 1, "num_heads": 2, "max_seq_len": 16, "threads": 1, "sample_tokens": 0}
TEXT = "The statement is a name, and it's here.\n\n" * 60
PNG = b"\x89PNG"


class Shown:
    """What IPython.display shows: a list for each place, of all that was there in turn."""

    def __init__(self):
        self.places = []

    def display(self, picture, display_id):
        assert display_id is True
        self.places.append([picture])
        return types.SimpleNamespace(update=self.places[-1].append)


@pytest.fixture
def shown(monkeypatch):
    """IPython with a kernel, and what it shows."""
    shown = Shown()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(kernel=object(), config={"IPKernelApp": {}})
    ipython.version_info = (8, 24)  # matplotlib asks
    ipython.get_ipython = lambda: shell
    display.Image = lambda data, format, width: data
    display.display = shown.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    shown.shell = shell
    return shown


def trained(tmp_path, **settings):
    (tmp_path / "my.txt").write_text(TEXT)
    return gpt2.train(tmp_path / "my.txt", out=tmp_path / "run", steps=20, eval_every=10, **{**SMALL, **settings})


def test_one_picture_is_renewed_and_ends_as_the_one_of_the_folder(tmp_path, shown, monkeypatch, capsys):
    monkeypatch.setattr(live.Live, "every", 0)
    monkeypatch.setattr(live.Live, "share", 1e9)
    trained(tmp_path)
    (pictures,) = shown.places
    assert len(pictures) == 20 + 2  # after each step and the evaluation before the first one, and at the end
    assert all(picture.startswith(PNG) for picture in pictures)
    assert pictures[0] != pictures[10] != pictures[-1] == (tmp_path / "run" / "loss.png").read_bytes()
    assert "20/20" in capsys.readouterr().err  # the bar


def test_pictures_take_a_small_part_of_the_time(tmp_path, shown):
    trained(tmp_path)
    assert 2 <= len(shown.places[0]) < 12


def test_a_picture_that_fails_ends_no_training(tmp_path, shown, monkeypatch):
    def fail(run):
        raise OSError("no room")

    monkeypatch.setattr(live, "draw_loss", fail)
    assert trained(tmp_path).result.steps == 20
    assert not shown.places


@pytest.mark.parametrize("case", ["no plots", "IPython in a terminal", "no IPython"])
def test_elsewhere_nothing_is_shown_and_lines_come_instead_of_a_bar(tmp_path, shown, monkeypatch, capsys, case):
    if case == "IPython in a terminal":
        del shown.shell.kernel
    elif case == "no IPython":
        monkeypatch.delitem(sys.modules, "IPython")
    trained(tmp_path, no_plots=case == "no plots")
    assert not shown.places
    out, err = capsys.readouterr()
    assert ("step 10/20: loss" in out) == (case != "no plots")
    assert ("20/20" in err) == (case == "no plots")


def test_a_quiet_bar_stays_quiet(shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with terminal.progress(True, total=3, delay=0) as bar:
        bar.update()
    assert bar.disable
    assert not sys.stderr.getvalue()


def test_health_says_what_the_command_says(tmp_path, capsys):
    run = trained(tmp_path, no_plots=True)
    capsys.readouterr()
    main(["health", str(run.folder), "--json"])
    said = json.loads(capsys.readouterr().out)["verdicts"]
    verdicts = run.health()
    assert [[one.level, one.name, one.seen] for one in verdicts] == [[one["level"], one["name"], one["seen"]] for one in said]
    html = verdicts._repr_html_()
    assert html.count("<tr>") == len(said) + 1


def test_verdicts_show_cause_and_remedy_escaped():
    html = Verdicts([Verdict("loss", "error", "<b>", "1 & 2", "the text", "another")])._repr_html_()
    assert "loss: &lt;b&gt; (usual: 1 &amp; 2)" in html
    assert "likely: the text" in html
    assert "try: another" in html
