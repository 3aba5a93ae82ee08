"""What `gpt2 inspect` says of a model: every number against a computation made another way; and the page that holds them."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from small_runs import MODEL, run_once

from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.commands.inspect import contents, label, page
from gpt2.errors import DataError, NonFiniteError
from gpt2.insight import inspection
from gpt2.insight.inspection import BINS, check_length, inspect
from gpt2.tokenizers import ByteTokenizer, CharTokenizer

T, V = 12, 23
IDS = np.random.default_rng(1).integers(0, V, T)


@pytest.fixture(scope="module")
def model():
    """In float64, with sizes that all differ, biases that matter, and dropout that must not."""
    model = GPT2(GPT2Config(vocab_size=V, dropout=0.3, **MODEL), dtype=np.float64)
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data = p.data + 0.3 * rng.standard_normal(p.shape)
    return model


@pytest.fixture(scope="module")
def found(model):
    return inspect(model, IDS)


@pytest.fixture(scope="module")
def by_hand(model):
    """The forward pass, step by step: attention weights and scores (L, H, T, T), residual streams, GELU inputs."""
    model.eval()
    x = model.wte.weight.data[IDS] + model.wpe.weight.data[:T]
    residual, gelu, weights, scores = [x], [], [], []
    for block in model.h:
        qkv = block.attn.c_attn(block.ln_1(x)).data
        merged = np.zeros_like(x)
        for head in range(2):
            q, k, v = (qkv[:, 16 * part + 8 * head : 16 * part + 8 * head + 8] for part in range(3))
            s, w = np.full((T, T), -np.inf), np.zeros((T, T))
            for i in range(T):
                s[i, : i + 1] = [q[i] @ k[j] / math.sqrt(8) for j in range(i + 1)]
                w[i] = np.exp(s[i]) / np.exp(s[i]).sum()
            merged[:, 8 * head : 8 * head + 8] = w @ v
            weights.append(w)
            scores.append(s)
        x = x + block.attn.c_proj(merged).data
        gelu.append(block.mlp.c_fc(block.ln_2(x)).data)
        x = x + block.mlp(block.ln_2(x)).data
        residual.append(x)
    return {"weights": np.reshape(weights, (2, 2, T, T)), "scores": np.array(scores), "residual": residual, "gelu": gelu}


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_attention_is_the_plain_formula_and_its_rows_sum_to_one(found, by_hand):
    np.testing.assert_allclose(found.attention, by_hand["weights"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.attention.sum(-1), 1, rtol=1e-12)
    for block, heads in zip(found.entropy, by_hand["weights"], strict=True):
        for value, w in zip(block, heads, strict=True):
            shares = [-sum(p * math.log(p) for p in w[i, : i + 1]) / math.log(i + 1) for i in range(1, T)]
            assert value == pytest.approx(np.mean(shares))


def test_the_lens_reads_each_residual_stream_and_ends_in_the_models_own_output(found, model, by_hand):
    gain, bias = model.ln_f.weight.data, model.ln_f.bias.data
    for i, x in enumerate(by_hand["residual"]):
        h = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gain + bias
        p = softmax(h @ model.lm_head.weight.data.T + model.lm_head.bias.data)
        assert (found.lens.tokens[i] == np.argsort(-p)[:, :5]).all()
        np.testing.assert_allclose(found.lens.p[i], -np.sort(-p)[:, :5], rtol=1e-9)
        np.testing.assert_allclose(found.lens.next_p[i], [p[t, IDS[t + 1]] for t in range(T - 1)], rtol=1e-9)
    p = softmax(model.eval()(IDS).data)
    np.testing.assert_allclose(found.lens.p[-1], -np.sort(-p)[:, :5], rtol=1e-12)


def test_losses_are_those_of_the_model(found, model):
    model.eval()
    for t in range(1, T):
        logits = model(IDS[:t]).data[-1]
        assert found.losses[t - 1] == pytest.approx(-math.log(softmax(logits)[IDS[t]]), rel=1e-10)
    assert found.losses.mean() == pytest.approx(model.loss(IDS[:-1], IDS[1:]).item(), rel=1e-10)


def test_the_likeliest_and_the_next_token_are_candidates_everywhere(found, model):
    p = softmax(model.eval()(IDS).data)
    g = found.gradients
    for t in range(T):
        tokens = g.tokens[g.positions == t].tolist()
        assert tokens[:5] == np.argsort(-p[t])[:5].tolist()
        assert len(set(tokens)) == len(tokens)
        assert set(tokens[5:]) == ({IDS[t + 1]} - set(tokens[:5]) if t + 1 < T else set())
    np.testing.assert_allclose(found.p, p[g.positions, g.tokens], rtol=1e-10)
    np.testing.assert_allclose(g.logits, model(IDS).data[g.positions, g.tokens], rtol=1e-10)


def test_gradients_are_finite_differences(found, model):
    """A change of the position embedding at t is a change of the input at t, and of nothing else."""
    model.eval()
    g, weight, width = found.gradients, model.wpe.weight, 1e-6
    x = model.wte.weight.data[IDS] + weight.data[:T]
    original = weight.data
    for n, t in [(0, 0), (8, 1), (40, 3), (len(g.tokens) - 1, 0), (len(g.tokens) - 1, T - 1)]:
        at, token = g.positions[n], g.tokens[n]
        slopes = []
        for c in range(x.shape[1]):
            sides = []
            for sign in (1, -1):
                changed = original.copy()
                changed[t, c] += sign * width
                weight.data = changed
                sides.append(model(IDS).data[at, token])
            slopes.append((sides[0] - sides[1]) / (2 * width))
        weight.data = original
        assert np.linalg.norm(slopes) > 1e-3
        assert g.norms[n, t] == pytest.approx(np.linalg.norm(slopes), rel=1e-6)
        assert g.signed[n, t] == pytest.approx(x[t] @ slopes, rel=1e-5, abs=1e-8)
    later = np.arange(T) > g.positions[:, None]
    assert (g.norms[later] == 0).all()


def test_how_many_copies_go_through_at_once_changes_nothing(found, model, monkeypatch):
    monkeypatch.setattr(inspection, "AT_ONCE", 4 * T)
    again = inspect(model, IDS).gradients
    np.testing.assert_allclose(again.norms, found.gradients.norms, rtol=1e-9)
    np.testing.assert_allclose(again.signed, found.gradients.signed, rtol=1e-7, atol=1e-12)


def test_histograms_count_every_entry_once(found, by_hand):
    scores = by_hand["scores"].reshape(2, 2, T, T)
    expected = {
        "residual": by_hand["residual"],
        "gelu": by_hand["gelu"],
        "scores": [s[np.isfinite(s)] for s in scores],
    }
    for name, values in expected.items():
        histograms = getattr(found, name)
        inner = histograms.edges[1:-1]
        assert histograms.counts.shape == (len(values), BINS)
        assert histograms.edges[0] >= min(v.min() for v in values)  # so that outliers do not stretch the scale
        for counts, v, std in zip(histograms.counts, values, histograms.stds, strict=True):
            assert counts.sum() == v.size
            # Rounding moves values, and the edges, by less than 1e-9.
            assert all(np.sum(v < e - 1e-9) <= n <= np.sum(v < e + 1e-9) for e, n in zip(inner, counts.cumsum(), strict=False))
            assert std == pytest.approx(v.std())


def test_similarities_are_cosines(found, model, monkeypatch):
    for name, rows in (("wte", V), ("wpe", 16)):
        similarity, weight = getattr(found, name), getattr(model, name).weight.data
        assert similarity.rows.tolist() == list(range(rows))
        for i, j in ((0, 0), (1, 4), (rows - 1, 2)):
            cosine = sum(weight[i] * weight[j]) / math.sqrt(sum(weight[i] ** 2) * sum(weight[j] ** 2))
            assert similarity.cosines[i, j] == pytest.approx(cosine)
    monkeypatch.setattr(inspection, "ROWS", 10)
    few = inspect(model, IDS)
    assert few.wte.rows.tolist() == sorted(set(IDS.tolist()))
    assert len(few.wpe.rows) == 10
    assert {0, 15} <= set(few.wpe.rows.tolist())


def test_it_leaves_no_trace(model):
    model.train()
    before = [p.data for p in model.parameters()]
    inspect(model, IDS)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None and p.data is data for p, data in zip(model.parameters(), before, strict=True))


def test_a_model_that_diverged_is_said_so():
    model = GPT2(GPT2Config(vocab_size=V, **MODEL))
    model.h[0].mlp.c_fc.bias.data[:] = np.nan
    with pytest.raises(NonFiniteError, match="not finite numbers: its training diverged"):
        inspect(model, IDS)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_prompt_has_a_length_that_a_page_can_show():
    small = GPT2(GPT2Config(vocab_size=5, max_seq_len=500, d_model=12, num_layers=12, num_heads=12))
    with pytest.raises(DataError, match="12 x 12 heads are too many numbers for one page: give at most ") as error:
        check_length(small, 400)
    most = int(str(error.value).rsplit(" ", 1)[1])
    check_length(small, most)
    with pytest.raises(DataError, match=f"at most {most}"):
        check_length(small, most + 1)
    with pytest.raises(DataError, match="501 tokens, and the context is 500"):
        check_length(small, 501)


def test_labels_can_be_seen():
    shown = [label(ByteTokenizer(), i) for i in (97, 32, 10, 9, 0, 0xC3, 256, 300)]
    assert shown == ["a", "␣", "↵", "⇥", "\\x00", "\\xc3", "<|endoftext|>", "#300"]


def test_hits_are_where_the_lens_bets_on_what_came(model):
    ids = model.generate(IDS[:4], 8)  # greedy: what came is what the model bets on
    last = contents(model, CharTokenizer("".join(map(chr, range(97, 97 + V)))), inspect(model, ids))["lens"][-1]
    assert len(last["hits"]) == 11
    assert last["hits"][3:] == [True] * 8
    assert not all(last["hits"])


def data_in(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def test_a_prompt_may_look_like_a_place_in_the_page():
    about = {"prompt": "@style@ @script@ @data@ <!-- <script>"}
    html = page(about)
    assert data_in(html) == about
    assert html.count("<!--") == html.count("@script@") - 1 == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("inspect") / "run"
    run_once(folder, text, tokenizer="byte", steps=5)
    return folder


def test_the_page_holds_what_was_computed_and_needs_nothing_else(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prompt = "a</script>@js\nü"
    assert main(["inspect", str(run), "--prompt", prompt]) == 0
    assert capsys.readouterr().out.endswith(" MB; open it in a browser\n")
    assert not list(tmp_path.iterdir())
    html = (run / "inspect.html").read_text("utf-8")
    data = data_in(html)
    assert html.count("</script>") == 2  # one of the data, one of the code
    assert not re.findall(r"""(?:src|href)=(?!["']#)|@import|url\(|fetch\(|@(?:style|script|data)@""", html)
    assert data["prompt"] == prompt
    assert data["tokens"] == ["a", *"</script>@js", "↵", "\\xc3", "\\xbc"]
    tokens = len(data["tokens"])
    assert [len(heads) for heads in data["attention"]] == [2, 2]
    for weights in (w for heads in data["attention"] for w in heads):
        assert [len(row) for row in weights] == list(range(1, tokens + 1))
        np.testing.assert_allclose([sum(row) for row in weights], 1, atol=1e-3)
    for t, candidates in enumerate(data["candidates"]):
        assert all(len(c["norms"]) == len(c["signed"]) == t + 1 for c in candidates)
        came = [c for c in candidates if c["next"]]
        assert len(came) == (t + 1 < tokens)
        if came:
            assert came[0]["token"] == data["tokens"][t + 1]
            assert -math.log(came[0]["p"]) == pytest.approx(data["losses"][t], abs=1e-3)
    last = data["lens"][-1]
    assert [best[0][0] for best in last["likeliest"]] == [c[0]["token"] for c in data["candidates"]]
    assert [sum(counts) for counts in data["activations"][0]["counts"]] == [16 * tokens] * 3
    assert main(["inspect", str(run), "--prompt", prompt, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == data


def test_best_is_the_checkpoint_with_the_lowest_validation_loss(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    (tmp_path / "metrics.jsonl").write_text('{"step": 7, "val_loss": 1.0}\n')
    assert main(["inspect", str(tmp_path), "--prompt", "T", "--json"]) == 0
    assert main(["inspect", str(tmp_path), "--prompt", "T", "--json", "--best"]) == 2
    assert "--best: step 7 has the lowest validation loss" in capsys.readouterr().err


def test_a_prompt_of_one_token_has_no_loss_and_is_still_shown(run, capsys):
    assert main(["inspect", str(run), "--prompt", "T", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["losses"] == []
    assert data["attention"][0][0] == [[1.0]]
    assert len(data["candidates"][0]) == 5


def test_special_makes_a_token_of_end_of_text(run, capsys):
    for flags, count in (([], 13), (["--special"], 1)):
        assert main(["inspect", str(run), "--prompt", "<|endoftext|>", "--json", *flags]) == 0
        assert len(json.loads(capsys.readouterr().out)["tokens"]) == count


@pytest.mark.parametrize(
    ("prompt", "out", "message"),
    [
        ("", "p.html", "the prompt is empty"),
        ("x" * 17, "p.html", "the prompt: 17 tokens, and the context is 16: give 1 to 16"),
        ("fine", "nowhere/p.html", "p.html: cannot be written: No such file or directory"),
        ("fine", "folder", "folder: cannot be written: Is a directory"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(run, tmp_path, capsys, prompt, out, message):
    (tmp_path / "folder").mkdir()
    assert main(["inspect", str(run), "--prompt", prompt, "--out", str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_a_character_that_is_not_in_the_vocabulary_is_named(tmp_path, text, capsys):
    run_once(tmp_path / "run", text[:1000], {"num_layers": 1}, steps=1, sample_tokens=0)
    assert main(["inspect", str(tmp_path / "run"), "--prompt", "a\u2603", "--out", str(tmp_path / "p.html")]) == 2
    assert "'☃' (U+2603) is not among" in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()


def test_a_page_of_the_tiny_preset_is_at_most_two_megabytes():
    model = GPT2(GPT2Config.preset("tiny", d_model=16))  # how wide it is does not change the page
    tokenizer = CharTokenizer("".join(chr(33 + i) for i in range(model.config.vocab_size)))
    ids = np.arange(model.config.max_seq_len) % model.config.vocab_size
    about = {"run": "tiny", "prompt": tokenizer.decode(ids), **contents(model, tokenizer, inspect(model, ids))}
    assert len(page(about).encode()) <= 2_000_000
