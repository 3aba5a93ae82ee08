"""Chinese: what the program says in it, and a text, a prompt and names that are in it."""

import json
import math
import os
import re
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from browsers import chromium
from small_runs import run_once

from gpt2.cli import main
from gpt2.run.folder import load_model
from gpt2.run.health import Verdict
from gpt2.run.plots import plot_loss
from gpt2.terminal import wrapped
from tinygrad2 import fonts
from tinygrad2.language import width_of

LETTERS = re.compile(r"[A-Za-z]{3,}")
NAMES = re.compile(r"--?[a-z-]+|\bh\.\d+|token|nat\b|Muon|muon|adamw|sgd|bigram|unigram|NaN|LayerNorm|GELU|test|epsilon")
"""What stays as it is in a Chinese text."""


def chinese(lines, seed=0):
    """Sentences drawn from a small grammar."""
    rng = np.random.default_rng(seed)
    words = ["今天昨天春天", "小猫小狗老师孩子", "看见喜欢找到", "月亮大山星星面包"]
    return (
        "\n".join("，".join("".join(pick(rng, word) for word in words[k:]) for k in (0, 1)) + "。" for _ in range(lines)) + "\n"
    )


def pick(rng, words):
    n = int(rng.integers(0, len(words) // 2))
    return words[2 * n : 2 * n + 2]


@pytest.fixture(scope="module", params=["char", "byte", "bpe"])
def run(request, tmp_path_factory):
    """A short training on Chinese, in a folder with a Chinese name."""
    folder = tmp_path_factory.mktemp("runs") / f"运行_{request.param}"
    return run_once(folder, chinese(60), tokenizer=request.param)


def test_bits_per_byte_are_those_of_the_bytes_of_utf_8(run, capsys, tmp_path):
    folder = run[0].folder
    text = chinese(12, seed=1)
    (tmp_path / "中文.txt").write_text(text, "utf-8")
    assert main(["eval", str(folder), "--data", str(tmp_path / "中文.txt"), "--per-token", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    tokenizer = load_model(folder)[1]
    sizes = [len(tokenizer.token_bytes(i)) for i in tokenizer.encode(text)]
    assert sum(sizes) == len(text.encode())
    nats = [nats for _, nats in about["per_token"]]  # of all but the first
    found = sum(nats) / math.log(2) / sum(sizes[1 : 1 + len(nats)])
    assert about["bits_per_byte"] == pytest.approx(found, rel=1e-4)


def test_a_chinese_prompt_is_continued(run, capsys):
    folder = run[0].folder
    assert main(["sample", str(folder), "--prompt", "春天，小猫", "--tokens", "5"]) == 0
    assert capsys.readouterr().out.startswith("春天，小猫")


def test_a_part_of_a_character_is_told_as_bytes(run, capsys, tmp_path):
    folder, *_ = run
    (tmp_path / "a.txt").write_text("月亮月亮", "utf-8")
    assert main(["eval", str(folder.folder), "--data", str(tmp_path / "a.txt"), "--per-token"]) == 0
    told = [line.partition("\t")[2] for line in capsys.readouterr().out.splitlines() if "\t" in line]
    assert told
    found = b"".join(part if isinstance(part, bytes) else part.encode() for part in map(eval, told))
    assert "月亮月亮".encode().endswith(found)


def test_health_says_all_of_it_in_chinese(run, capsys):
    assert main(["health", str(run[0].folder), "--language", "zh"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 8
    assert not [line for line in lines[1:] if LETTERS.search(NAMES.sub("", line))]
    assert main(["health", str(run[0].folder)]) in (0, 1)
    assert not re.search("[\u4e00-\u9fff]", capsys.readouterr().out.partition("\n")[2])


def test_json_is_the_same_in_every_language(run, capsys):
    said = []
    for language in ("en", "zh"):
        main(["health", str(run[0].folder), "--json", "--language", language])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_the_environment_says_the_language(run, capsys, monkeypatch):
    monkeypatch.setenv("TINYGRAD2_LANGUAGE", "zh")
    main(["health", str(run[0].folder)])
    assert "步；损失以每 token 的 nat 计" in capsys.readouterr().out
    monkeypatch.setenv("TINYGRAD2_LANGUAGE", "xx")
    assert main(["health", str(run[0].folder)]) == 2
    assert capsys.readouterr().err == "gpt2 health: error: TINYGRAD2_LANGUAGE=xx: choose en or zh\n"


@pytest.mark.parametrize("width", [20, 41, 90])
def test_no_line_of_a_chinese_text_is_wider_than_the_terminal_nor_begins_with_a_mark(width):
    text = "学习率为 0.0082 时，一次更新使矩阵改变其大小的 2.3%（通常：0.01% 到 5%）；unigram 基线。" * 3
    lines = wrapped(text, width, "  正常  ", " " * 8).split("\n")
    assert max(map(width_of, lines)) <= width
    assert "".join("".join(lines).split()) == "正常" + "".join(text.split())
    assert not [line for line in lines if line.strip()[0] in "，。；：）"]
    full = [width_of(line) for line in lines[:-1]]
    assert min(full) > width - 12


@pytest.mark.parametrize("width", [30, 77, 200])
def test_an_english_text_is_wrapped_as_the_standard_library_does(width):
    text = (
        "the learning rate is too high: the weights are replaced, not improved; try --learning-rate 0.001 (usual: 0.01% to 5%)"
    )
    wanted = textwrap.fill(text, width, initial_indent="  ok      ", subsequent_indent=" " * 10, break_on_hyphens=False)
    assert wrapped(text, width, "  ok      ", " " * 10) == wanted


@pytest.mark.slow
def test_the_page_of_inspect_is_in_chinese_and_leaves_the_text_alone(run, tmp_path, capsys):
    """Read by a browser. The prompt is a text that the page knows; a model may have such tokens as well."""
    folder, page = str(run[0].folder), tmp_path / "a.html"
    assert main(["inspect", folder, "--prompt", "春天，小猫", "--language", "zh", "--out", str(page)]) == 0
    assert capsys.readouterr().out.endswith("请用浏览器打开\n")
    source = page.read_text("utf-8").replace('"prompt":"春天，小猫"', '"prompt":"Attention"')
    click = "<script>for (const _ of '1234') document.querySelector('.language').click();</script>"  # there and back, twice
    page.write_text(source.replace("</body>", f"{click}</body>"), "utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command = [chromium(), *flags, "--virtual-time-budget=2000", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, check=True, timeout=60, encoding="utf-8").stdout
    assert '<html lang="zh">' in shown
    assert "<title>gpt2 inspect: Attention</title>" in shown
    assert '<blockquote id="prompt" translate="no">Attention</blockquote>' in shown
    assert "<h2>注意力</h2>" in shown
    told = re.sub(r"<(script|style|code|noscript)\b.*?</\1>", "", shown.partition("<body>")[2], flags=re.DOTALL)
    texts = [*re.findall(r">([^<>]+)<", told), *re.findall(r'aria-label="([^"]*)"', told)]
    assert len(texts) > 100
    assert not [text for text in texts if re.search("[A-Za-z]{2,} [A-Za-z]{2,}", text.replace("gpt2 inspect", ""))]


def test_lines_of_a_verdict_in_english_are_as_they_were():
    verdict = Verdict("targets", "error", "the loss is 1", "lowest", "shifted", "shift")
    assert verdict.lines() == ["targets: the loss is 1 (usual: lowest)", "likely: shifted", "try: shift"]


def test_chinese_in_a_picture_is_drawn(tmp_path):
    if not fonts.for_cjk():
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("no font with Chinese letters: install fonts-noto-cjk")
        pytest.skip("no font with Chinese letters")
    from matplotlib.figure import Figure

    @fonts.legible
    def draw():
        figure = Figure()
        figure.suptitle("春天的故事")
        figure.savefig(tmp_path / "a.png")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw()


def test_boxes_in_a_picture_are_told_once(tmp_path, capsys, monkeypatch):
    from gpt2.run import plots

    monkeypatch.setattr(fonts, "for_cjk", list)
    plots._note_boxes.cache_clear()
    rows = [{"step": 1, "train_loss": 1.0, "val_loss": 1.0}]
    for name in ("a.png", "b.png"):
        plot_loss(tmp_path / name, rows, "春天")
    assert capsys.readouterr().err.count("boxes for letters") == 1
    assert "matplotlib" in sys.modules
