"""The film of a training: its numbers against the checkpoints and other commands, and its page in a browser."""

import base64
import json
import math
import re
import shutil
from functools import partial

import numpy as np
import pytest
from browsers import axe, opened, violations
from small_runs import MODEL

from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.insight import film
from gpt2.run.checkpoints import Checkpoints
from gpt2.run.folder import Run
from gpt2.run.metrics import history

PROMPT = "the cat"


@pytest.fixture(scope="module")
def run(tmp_path_factory, text):
    """Of 12 steps, with a checkpoint of every fourth; without dropout, so that a step can be computed by other means."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "my.txt").write_text(text)
    shape = [f"--{name.replace('_', '-')}={value}" for name, value in MODEL.items()]
    settings = ["--dropout=0", "--sample-tokens=0", "--eval-every=6", "--save-every=4", "--keep-every=4", "--steps=12"]
    data = ["--data", str(folder / "my.txt"), "--tokenizer=byte"]
    assert main(["train", "--no-plots", "--out", str(folder / "run"), *data, *shape, *settings, "--learning-rate=0.01"]) == 0
    return folder / "run"


def shown(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S)[1])


def made(run, out, *flags, code=0):
    assert main(["replay", str(run), "--film", "--out", str(out), *flags]) == code
    return shown(out)


@pytest.fixture(scope="module")
def data(run, tmp_path_factory):
    return made(run, tmp_path_factory.mktemp("page") / "film.html", "--prompt", PROMPT, "--tokens=30")


def model_at(run, step):
    found = Run(run)
    arrays = Checkpoints(found.checkpoints).load(step).arrays
    weights = {name.removeprefix("model."): array for name, array in arrays.items() if name.startswith("model.")}
    return GPT2.with_weights(found.read_config().model, weights)


def test_it_has_the_beginning_every_checkpoint_and_the_losses_of_the_log(run, data):
    assert [frame["step"] for frame in data["frames"]] == [0, 4, 8, 12]
    rows = list(history(run / "metrics.jsonl"))
    assert data["losses"]["train"] == [[row["step"], row["train_loss"]] for row in rows if "train_loss" in row]
    assert data["losses"]["val"] == [[row["step"], row["val_loss"]] for row in rows if "val_loss" in row]
    assert [frame["loss"] for frame in data["frames"][:3]] == [data["losses"]["train"][step][1] for step in (0, 4, 8)]
    assert data["differ"] == []


def test_attention_is_that_of_the_checkpoint(run, data):
    ids, T = np.frombuffer(PROMPT.encode(), np.uint8), len(PROMPT)
    pairs = T * (T + 1) // 2
    for frame in data["frames"]:
        model = model_at(run, frame["step"]).eval()
        kept = []
        keep = partial(lambda kept, m, inputs, out: kept.append(out.data.astype(float)), kept)
        for block in model.h:
            block.attn.c_attn.register_forward_hook(keep)
        model(ids.astype(int))
        found = np.frombuffer(base64.b64decode(frame["attention"]), np.uint8).astype(float) / 255
        assert found.size == 4 * pairs
        for n, (layer, head) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            assert data["heads"][n] == [layer, head]
            q, k = (kept[layer][:, 16 * i + 8 * head : 16 * i + 8 * head + 8] for i in (0, 1))
            roots = iter(found[n * pairs : (n + 1) * pairs])
            for t in range(T):
                scores = np.exp(k[: t + 1] @ q[t] / math.sqrt(8))
                row = np.array([next(roots) for _ in range(t + 1)])
                assert abs(row - np.sqrt(scores / scores.sum())).max() < 0.5 / 255 + 1e-6
                assert sum(row**2) == pytest.approx(1, abs=0.01)
    assert len({frame["attention"] for frame in data["frames"]}) == 4


def test_gradients_are_those_of_a_backward_pass_on_the_next_batch(run, data, tmp_path, capsys):
    for frame in data["frames"][:3]:
        assert main(["replay", str(run), "--step", str(frame["step"] + 1), "--out", str(tmp_path / "g.npz")]) == 0
        batch = np.load(tmp_path / "g.npz")
        model = model_at(run, frame["step"])
        model.loss(batch["inputs"], batch["targets"]).backward()
        layers = {"h.0": model.h[0], "h.1": model.h[1], **{name: getattr(model, name) for name in ("wte", "wpe", "ln_f")}}
        layers["lm_head"] = model.lm_head
        assert sorted(data["layers"]) == sorted(layers)
        for name, norm, relative in zip(data["layers"], frame["norms"], frame["relative"], strict=True):
            parameters = list(layers[name].parameters())
            expected = math.sqrt(sum(np.sum(p.grad.numpy().astype(float) ** 2) for p in parameters))
            size = math.sqrt(sum(np.sum(p.numpy().astype(float) ** 2) for p in parameters))
            assert norm == pytest.approx(expected, rel=1e-4, abs=1e-6)
            assert relative == (pytest.approx(expected / size, rel=1e-3, abs=1e-6) if size else None)


def test_each_moment_writes_what_sample_writes_from_its_checkpoint(run, data, tmp_path, capsys):
    for frame in data["frames"]:
        alone = tmp_path / str(frame["step"])
        shutil.copytree(run, alone, ignore=shutil.ignore_patterns("model.safetensors", "film.html"))
        for step in {0, 4, 8, 12} - {frame["step"]}:
            Checkpoints(alone / "checkpoints").path(step).unlink(missing_ok=True)
        capsys.readouterr()
        assert main(["sample", str(alone), "--prompt", PROMPT, "--tokens=30", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["text"] == frame["text"]
    assert len({frame["text"] for frame in data["frames"]}) == 4


@pytest.mark.parametrize("kept", [[], [4]])
def test_a_moment_without_a_checkpoint_is_computed_again(run, data, tmp_path, kept):
    shutil.copytree(run, tmp_path / "x")
    for step in {0, 4, 8, 12} - set(kept):
        Checkpoints(tmp_path / "x" / "checkpoints").path(step).unlink()
    again = made(tmp_path / "x", tmp_path / "a.html", "--prompt", PROMPT, "--tokens=30", "--frames=4")
    assert again["frames"] == data["frames"]


def test_what_has_a_checkpoint_is_not_computed_again(run, tmp_path, monkeypatch):
    monkeypatch.setattr("gpt2.training.replay._take_again", None)
    assert len(made(run, tmp_path / "a.html", "--tokens=1")["frames"]) == 4


def test_a_damaged_checkpoint_is_told_and_computed_again(run, data, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "x")
    Checkpoints(tmp_path / "x" / "checkpoints").path(8).write_bytes(b"nothing")
    again = made(tmp_path / "x", tmp_path / "a.html", "--prompt", PROMPT, "--tokens=30")
    assert again["frames"] == data["frames"]
    assert "step-00000008.safetensors" in capsys.readouterr().err


def test_another_log_is_noticed(run, tmp_path):
    shutil.copytree(run, tmp_path / "x")
    log = tmp_path / "x" / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows:
        if row["step"] == 5 and "train_loss" in row:
            row["train_loss"] += 1e-9
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert made(tmp_path / "x", tmp_path / "a.html", "--tokens=1", code=1)["differ"] == [4]


def test_the_prompt_is_the_beginning_of_the_validation_text_if_none_is_given(run, tmp_path, text, capsys):
    found = made(run, tmp_path / "a.html", "--tokens=1", "--frames=2")
    assert found["prompt"] in text
    assert text.index(found["prompt"]) > len(text) // 2
    assert len(found["tokens"]) == MODEL["max_seq_len"]


def test_the_averaged_weights_write_and_the_others_have_gradients(run, tmp_path, text, capsys):
    shape = [f"--{name.replace('_', '-')}={value}" for name, value in MODEL.items()]
    out = tmp_path / "run"
    settings = ["--ema-decay=0.9", "--sample-tokens=0", "--steps=12", "--tokenizer=byte", "--data", str(run.parent / "my.txt")]
    assert main(["train", "--no-plots", "--out", str(out), *shape, *settings, "--learning-rate=0.01"]) == 0
    frame = made(out, tmp_path / "a.html", "--prompt", PROMPT, "--tokens=30", "--frames=2")["frames"][-1]
    capsys.readouterr()
    assert main(["sample", str(out), "--prompt", PROMPT, "--tokens=30", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == frame["text"]


@pytest.mark.parametrize("frames", [2, 30, 400, 10**6])
@pytest.mark.parametrize("T", [1, 128, 1024])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (6, 6), (12, 12), (96, 96)])
def test_a_page_has_room_for_what_it_shows(frames, T, layers, heads):
    count, shown = film.fitting(frames, layers, heads, T)
    pairs = T * (T + 1) // 2
    assert count * len(shown) * pairs * 4 / 3 < 9e6 or count == 1
    assert {layer for layer, _ in shown} == set(range(layers))
    assert len({tuple(one) for one in shown}) == len(shown) <= layers * heads
    assert 1 <= count <= frames
    if frames * layers * heads * pairs * 4 / 3 < 8.5e6 and frames <= 400:
        assert (count, len(shown)) == (frames, layers * heads)


def test_what_is_left_out_for_want_of_room_is_in_the_page(run, tmp_path, monkeypatch):
    pairs = len(PROMPT) * (len(PROMPT) + 1) // 2
    monkeypatch.setattr(film, "ROOM", 2 * 4 * pairs)  # one head for each of two blocks, four times
    few = made(run, tmp_path / "a.html", "--prompt", PROMPT, "--tokens=1")
    assert few["heads"] == [[0, 0], [1, 0]]
    assert (few["all_heads"], few["all_frames"], len(few["frames"])) == (4, 4, 4)
    monkeypatch.setattr(film, "ROOM", 2 * 2 * pairs)
    fewer = made(run, tmp_path / "b.html", "--prompt", PROMPT, "--tokens=1")
    assert (len(fewer["heads"]), [frame["step"] for frame in fewer["frames"]]) == (2, [0, 12])
    monkeypatch.setattr("gpt2.commands.replay.MOST_BYTES", 10_000)
    assert main(["replay", str(run), "--film", "--out", str(tmp_path / "c.html")]) == 2
    assert not (tmp_path / "c.html").exists()


def test_the_page_needs_nothing_else(run, data, tmp_path):
    made(run, tmp_path / "a.html", "--tokens=1", "--frames=2", "--prompt", "a</script>@js")
    html = (tmp_path / "a.html").read_text("utf-8")
    assert html.count("</script>") == 2
    assert not re.findall(r"""(?:src|href)=(?!["']#)|@import|url\(|fetch\(|@(?:style|script|data|large)@""", html)
    assert len(html) < 100_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--film --step 3", "not allowed with"),
        ("--film --json", "--json is for --step: leave it out"),
        ("--film --set lr=1", "--set is for --step: leave it out"),
        ("--step 3 --frames 3", "--frames is for --film: leave it out"),
        ("--step 3 --prompt a", "--prompt is for --film: leave it out"),
        ("--film --frames 1", "--frames 1: must be at least 2"),
        ("--film --prompt=", "the prompt: 0 tokens, and the context is 16: give 1 to 16"),
        (f"--film --prompt={'x' * 17}", "the prompt: 17 tokens, and the context is 16: give 1 to 16"),
        ("--film --out nowhere/a.html", "--out nowhere/a.html: cannot be written: No such file"),
        ("--film --out folder", "--out folder: cannot be written: Is a directory"),
        ("--film --out other.txt", "a file of another format has that name"),
        ("--film --out other.html", "a file made in another way has that name"),
        ("--film --out=", "--out is empty"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(run, tmp_path, capsys, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / "other.html").write_text("<!doctype html>mine")
    before = sorted(run.rglob("*"))
    try:
        code = main(["replay", str(run), *flags.split()])
    except SystemExit as error:  # what argparse refuses
        code = error.code
    said = capsys.readouterr().err
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "other.html", "other.txt"]
    assert sorted(run.rglob("*")) == before


def test_a_run_without_checkpoints_says_what_to_do(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "x")
    shutil.rmtree(tmp_path / "x" / "checkpoints")
    assert main(["replay", str(tmp_path / "x"), "--film"]) == 2
    assert "holds no checkpoints; --frames 20 computes 20 moments again" in capsys.readouterr().err


# -- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(run, browser, tmp_path, capsys):
    """Opens a page as somebody sees it who wants less motion, or not."""

    def see(*flags, width=1400, scheme="light", motion="reduce"):
        made(run, tmp_path / "film.html", "--prompt", PROMPT, "--tokens=30", *flags)
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        browser.get((tmp_path / "film.html").as_uri())
        return shown(tmp_path / "film.html")

    yield see
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert browser.get_log("browser") == []


def seen(browser, selector):
    return browser.find_element("css selector", selector)


def wait(browser, condition):
    script = f"""const done = arguments[0];
        const look = () => ({condition}) ? done() : setTimeout(look, 20);
        look();"""
    browser.execute_async_script(script)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme", "language"),
    [(1400, "light", "en"), (1024, "light", "zh"), (390, "light", "en"), (390, "light", "zh"), (1400, "dark", "en")],
)
def test_it_fits_every_width(page, browser, width, scheme, language):
    page("--frames=3", "--language", language, width=width, scheme=scheme)
    assert browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert seen(browser, "html").get_attribute("lang") == language
    told = re.sub("gpt2 replay --film", "", seen(browser, "main").text.replace(seen(browser, "#text").text, ""))
    assert bool(re.search("[A-Za-z]{2,} [A-Za-z]{2,}", told)) == (language == "en")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, browser, scheme):
    script = axe()
    page("--frames=3", scheme=scheme)
    browser.execute_script(script)
    assert list(violations(browser)) == []


@pytest.mark.slow
def test_the_slider_goes_to_each_moment_by_keyboard(page, browser):
    frames = page()["frames"]
    slider = seen(browser, "#moment")
    assert browser.execute_script("return state.timer") == 0  # less motion is wanted
    left = []
    for key, at in (("\ue012", 0), ("\ue014", 1), ("\ue014", 2), ("\ue010", 3), ("\ue011", 0)):  # ←, →, →, End, Home
        slider.send_keys(key)
        assert seen(browser, "#text").get_property("textContent") == PROMPT + frames[at]["text"]
        assert seen(browser, "#where").text.startswith(f"Step {frames[at]['step']}: moment {at + 1} of 4")
        assert slider.get_attribute("aria-valuetext") == seen(browser, "#where").text
        left.append(float(seen(browser, "#now").get_attribute("x1")))
        norm = frames[at]["norms"][0]
        assert float(browser.execute_script("return document.querySelector('#layers td span').textContent")) == pytest.approx(
            norm, rel=0.01
        )
    assert left == pytest.approx([0, 1000 / 3, 2000 / 3, 1000, 0], abs=0.1)


@pytest.mark.slow
def test_a_map_has_the_colours_of_its_weights(page, browser):
    page()
    seen(browser, "#moment").send_keys("\ue010")
    script = """const canvas = document.querySelectorAll("#maps canvas")[3], T = data.tokens.length;
        const all = canvas.getContext("2d").getImageData(0, 0, T, T).data;
        const of = (i, j) => [...all.slice(4 * (i * T + j), 4 * (i * T + j) + 3)];
        return [data.frames[last].attention, ...[[0, 0], [6, 2], [6, 6]].map(([i, j]) => of(i, j)), theme.bg, theme.accent];"""
    attention, *pixels, bg, accent = browser.execute_script(script)
    roots = np.frombuffer(base64.b64decode(attention), np.uint8)[3 * 28 :] / 255
    for pixel, root in zip(pixels, [roots[0], roots[21 + 2], roots[21 + 6]], strict=True):
        assert pixel == pytest.approx([b + root * (a - b) for b, a in zip(bg, accent, strict=True)], abs=1)


@pytest.mark.slow
def test_it_plays_by_itself_to_the_end_and_again_unless_less_motion_is_wanted(page, browser):
    page(motion="no-preference")
    assert seen(browser, "#play").text == "Pause"
    wait(browser, "state.at === 3 && !state.timer")
    assert seen(browser, "#play").text == "Play"
    browser.execute_script("document.querySelector('#speed').value = '4'")
    seen(browser, "#play").click()
    wait(browser, "state.at === 1")
    seen(browser, "#play").click()
    assert seen(browser, "#play").text == "Play"
    at = browser.execute_script("return state.at")
    browser.execute_async_script("setTimeout(arguments[0], 500)")
    assert browser.execute_script("return state.at") == at


@pytest.mark.slow
def test_a_map_is_enlarged_while_the_film_stands_still(page, browser):
    page(motion="no-preference")
    browser.execute_script("document.querySelectorAll('#maps button')[1].click()")
    assert seen(browser, "#large-title").text == "h.0, head 1: row looks at column"
    assert browser.execute_script("return state.timer") == 0
    assert re.fullmatch(r"t \(6\) looks at . \(\d\) with 0\.\d\d", seen(browser, "#large-read").text)


@pytest.mark.slow
def test_what_is_left_out_is_told(page, browser, monkeypatch):
    monkeypatch.setattr(film, "ROOM", 2 * 2 * 28)
    page()
    told = seen(browser, "#notes").text
    assert "The page has room for 2 of 4 heads: a shorter prompt, or fewer moments, shows more." in told
    assert "The page has room for 2 of 4 moments: a shorter prompt shows more." in told


def test_a_large_model_has_a_page_of_at_most_ten_megabytes():
    config = GPT2Config(max_seq_len=1024, num_layers=12, num_heads=12, d_model=24)
    frames, heads = film.fitting(40, config.num_layers, config.num_heads, 1024)
    weights = np.tile(np.tri(8) / np.arange(1, 9)[:, None], (12, 12, 1, 1))
    each = len(film.packed(weights, heads)) / 36  # characters of a weight
    assert frames * each * (1024 * 1025 // 2) <= 9e6
