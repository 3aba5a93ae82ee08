"""report.html: what it shows of a run, that nothing in a run is taken for markup, and that it goes still in the end."""

import base64
import html
import math
import os
import re
import signal
import subprocess
import sys
import time
from urllib.parse import unquote

import pytest
from browsers import axe, opened, violations

from gpt2.cli import main
from gpt2.commands.train import Report
from gpt2.run import report
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from gpt2.run.report import page, write_report
from tinygrad2.context import within
from tinygrad2.language import LANGUAGE

SIZES = ["--d-model", "8", "--num-layers", "1", "--num-heads", "1", "--max-seq-len", "8", "--batch-size", "2"]
TEXT = "the </script> cat <b>sat</b> & ran. " * 600


def train(folder, *words, steps=("--steps", "4", "--eval-every", "2")):
    path = folder / "text.txt"
    path.write_text(TEXT, "utf-8")
    main(["train", "--data", str(path), "--out", str(folder / "run"), *SIZES, "--sample-tokens", "12", *steps, *words])
    return Run(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("report"))


def shown(text):
    """Its text, without tags and pictures."""
    return html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)))


def test_it_has_the_last_losses_beside_what_they_are_compared_with(run):
    last = [row for row in history(run.metrics) if "val_loss" in row][-1]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", run.report.read_text("utf-8"))]
    found = {row[0]: row[1:] for row in cells if len(row) == 3}
    per_byte = last["val_tokens"] / last["val_bytes"] * 1.4426950408889634
    for name, value in {"validation": last["val_loss"], **last["baselines"]}.items():
        assert found[name] == [f"{value:.3f}", f"{value * per_byte:.3f}"], name
    assert {"gzip", "xz", "trigram"} <= found.keys()


def test_it_has_pictures_verdicts_samples_settings_and_what_to_do_next(run):
    text = run.report.read_text("utf-8")
    pictures = [base64.b64decode(data) for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)]
    assert len(pictures) == 2
    assert all(b"</svg>" in picture for picture in pictures)
    words = shown(text)
    for part in ("step 4 of 4", "update size:", "d_model", "eval_every", "gpt2 sample", "gpt2 inspect"):
        assert part in words, part
    assert [int(step) for step in re.findall(r"<h3>step (\d+), validation loss", text)] == [4, 2, 0]
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_what_was_chosen_for_the_minutes_stays_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr("gpt2.training.dial.pace", lambda config: 1000.0)
    run = train(tmp_path, steps=("--minutes", "0.02"))
    assert run.read_config().chosen[0].startswith("chosen for 0.02 minutes")
    assert "chosen for 0.02 minutes" in run.report.read_text("utf-8")
    main(["train", "--resume", "--out", str(run.folder), "--minutes", "0.03", "--accept-changes"])
    assert run.read_config().chosen[0].startswith("chosen for 0.02 minutes")


def test_nothing_of_a_run_is_markup(tmp_path):
    run = train(tmp_path)
    (tmp_path / "x").mkdir()
    other = tmp_path / "x" / "<script>alert(1)<"
    os.rename(run.folder, other)
    run = Run(other)
    run.samples.write_text("--- step 0, validation loss 1.0\n</script><img src=x onerror=alert(1)> @content@\n\n", "utf-8")
    text = page(run, 5.0)
    assert "<img src=x" not in text
    assert text.count("<script>") == 1
    assert "&lt;img src=x onerror=alert(1)&gt; @content@" in text


def test_it_reloads_itself_while_the_run_trains_and_not_after(run, tmp_path):
    assert "location.reload" in page(run, 5.0)
    assert "<script" not in page(run)
    assert "<script" not in run.report.read_text("utf-8")


def test_one_page_at_the_start_and_not_more_than_its_share_of_the_time(run, monkeypatch):
    written, now = [], [100.0]
    monkeypatch.setattr("gpt2.run.live.time.perf_counter", lambda: now[0])

    def write(run, every):
        written.append(now[0])
        now[0] += 0.6

    monkeypatch.setattr(report, "write_report", write)
    one = Report(run)
    while now[0] < 200:
        one.renew()
        now[0] += 0.1
    assert written[0] == 100
    assert 4 <= len(written) <= 1 + 100 * Report.share / 0.6


@pytest.mark.parametrize("how", ["ended", "killed", "failed"])
def test_a_run_that_ends_early_leaves_no_page_that_reloads(tmp_path, how, monkeypatch, capsys):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, "utf-8")
    words = ["train", "--data", str(path), "--out", str(tmp_path / "run"), *SIZES, "--steps", "1000000", "--sample-tokens", "5"]
    if how == "failed":
        monkeypatch.setattr("gpt2.training.loop.Training.finish_step", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(words)
    else:
        job = subprocess.Popen([sys.executable, "-m", "gpt2", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while not (tmp_path / "run" / "report.html").exists() and time.monotonic() < until:
            time.sleep(0.05)
        job.send_signal(signal.SIGINT if how == "ended" else signal.SIGKILL)
        job.wait(60)
    there = (tmp_path / "run" / "report.html").exists()
    assert there or how == "failed"
    if there:
        text = (tmp_path / "run" / "report.html").read_text("utf-8")
        assert text.endswith("</html>\n")
        assert "gpt2 train --resume --out" in text
        assert ("location.reload" in text) == (how == "killed")  # that one gives up by the clock: see below


def test_without_plots_there_is_none(tmp_path):
    assert not train(tmp_path, "--no-plots").report.exists()


def test_what_cannot_be_written_is_said_and_the_run_is_whole(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gpt2.run.report.page", lambda *_: 1 / 0)
    run = train(tmp_path)
    assert run.model.exists()
    assert capsys.readouterr().out.count("report.html is not drawn: division by zero") == 1


def test_plot_writes_it_again(run):
    before = run.report.read_text("utf-8")
    run.report.unlink()
    assert main(["plot", str(run.folder)]) == 0
    assert shown(run.report.read_text("utf-8")).split("written")[0] == shown(before).split("written")[0]


def test_in_chinese(run):
    with within(LANGUAGE, "zh"):
        text = page(run, 5.0)
    words = shown(text)
    assert 'lang="zh-CN"' in text
    for part in ("第 4 步，共 4 步", "健康状况", "每字节比特", "接下来可以做"):
        assert part in words


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.parametrize("width", [1400, 1024, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_it_fits_and_says_no_error(browser, run, width, scheme):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.set_window_size(width, 900)
    browser.get_log("browser")
    browser.get(run.report.absolute().as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script("return [...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, run, tmp_path, scheme):
    script = axe()
    at = tmp_path / "runs.html"
    assert main(["runs", str(run.folder.parent), "--html", str(at)]) == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    for path in (run.report, at):
        browser.get(path.absolute().as_uri())
        browser.execute_script(script)
        assert list(violations(browser)) == []


def test_an_open_page_follows_the_run_and_gives_up_when_nothing_comes(browser, run, tmp_path):
    def state():  # at once, since the page may be replaced in between
        return browser.execute_script("return document.getElementById('state')?.textContent ?? ''")

    at = tmp_path / "report.html"
    at.write_text(page(run, 5.0).replace("step 4 of 4", "step 3 of 4").replace(", 5000)", ", 300)"), "utf-8")
    browser.get(at.as_uri())
    assert state().startswith("step 3 of 4")
    assert "reloads itself" in state()
    at.write_text(page(run), "utf-8")
    until = time.monotonic() + 30
    while not state().startswith("step 4 of 4") and time.monotonic() < until:
        time.sleep(0.1)
    assert state().startswith("step 4 of 4")
    old = re.sub(r"Date.now\(\) / 1000 - \d+ <", "Date.now() / 1000 - 1000 <", page(run, 5.0))
    at.write_text(old, "utf-8")
    browser.get(at.as_uri())
    assert "nothing new has come" in state()


def test_only_a_page_that_was_written_here_is_ended(run):
    write_report(run, 5.0)
    Report(run).end()  # as one that was refused, since another trains into the folder
    assert "location.reload" in run.report.read_text("utf-8")
    one = Report(run)
    one.draw()
    one.end()
    assert "<script" not in run.report.read_text("utf-8")


@pytest.mark.parametrize("loss", [0.0, math.nan, math.inf])
def test_losses_of_any_kind_are_shown(loss):
    row = {"step": 1, "val_loss": loss, "val_tokens": 10, "val_bytes": 20, "baselines": {"bigram": 2.0}}
    assert report.losses(row) == [("validation", f"{loss:.3f}", f"{loss:.3f}"), ("bigram", "2.000", f"{1 / math.log(2):.3f}")]
    assert report.losses({"step": 1, "val_loss": loss}) == [("validation", f"{loss:.3f}", "")]


def test_a_page_of_several_runs_leads_to_their_reports(run, tmp_path, capsys):
    folder, at = run.folder.parent, tmp_path / "deep" / "all.html"
    at.parent.mkdir()
    train(folder, "--seed", "1", "--out", str(folder / "a <b>"))
    capsys.readouterr()
    assert main(["runs", str(folder), "--html", str(at)]) == 0
    assert capsys.readouterr().out.split() == [str(at)]
    text = at.read_text("utf-8")
    links = [at.parent / unquote(link) for link in re.findall(r'<a href="([^"]+)"', text)]
    assert [link.resolve() for link in links] == [folder / "a <b>" / "report.html", run.report]
    assert "a &lt;b&gt;" in text
    assert '<b>"' not in text
    assert text.count("data:image/svg+xml;base64,") == 1
    assert "<script" not in text
    assert main(["runs", str(folder), "--html", str(tmp_path / "none" / "all.html")]) == 2
    assert "--html" in capsys.readouterr().err


def test_a_page_of_somebody_else_is_not_overwritten(run, tmp_path, capsys):
    other = tmp_path / "index.html"
    other.write_text("<!doctype html><title>mine</title>", "utf-8")
    assert main(["runs", str(run.folder.parent), "--html", str(other)]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert other.read_text("utf-8") == "<!doctype html><title>mine</title>"
    made = tmp_path / "all.html"
    for _ in range(2):  # its own is
        assert main(["runs", str(run.folder.parent), "--html", str(made)]) == 0


def test_losses_that_cannot_be_compared_are_no_picture(tmp_path):
    for name, more in (("a", []), ("b", ["--tokenizer", "byte"])):
        train(tmp_path, *more, "--out", str(tmp_path / name))
    log = tmp_path / "a" / "metrics.jsonl"
    log.write_text(re.sub(r', "val_bytes": \d+', "", log.read_text("utf-8")), "utf-8")
    assert main(["runs", str(tmp_path), "--html", str(tmp_path / "all.html")]) == 0
    text = (tmp_path / "all.html").read_text("utf-8")
    assert "cannot be compared" in text
    assert "data:image" not in text
