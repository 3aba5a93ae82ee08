"""What makes training fast changes nothing but the time: compiled kernels, MKL's products, bfloat16; and `gpt2 bench`."""

import functools
import json
import math

import numpy as np
import pytest
from kernel_settings import LIBRARIES, PAIRS, name, needs_mkl, use
from small_runs import MODEL

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.cli import main
from gpt2.insight import benchmark
from gpt2.insight.profiling import Profile
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer
from tinygrad2 import kernels
from tinygrad2.kernels.fast import products
from tinygrad2.ops import Op

STEPS = 200
SHAPE = {"vocab_size": 65, "d_model": 64, "num_layers": 2, "num_heads": 4, "max_seq_len": 32}
TRAINING = {"steps": STEPS, "batch_size": 8, "learning_rate": 2e-3, "warmup_steps": 20, "threads": 2}


@pytest.fixture(scope="module")
def train(shakespeare):
    """A training by implementation, library and dtype, made once: the losses of all steps, and the weights at the end."""
    text = np.frombuffer(shakespeare.read_bytes(), np.uint8)
    ids = np.unique(text, return_inverse=True)[1]

    def again(implementation, library, dtype="float32"):
        config = TrainConfig(**TRAINING, dtype=dtype)
        model = GPT2(GPT2Config(**SHAPE), seed=0)
        with pytest.MonkeyPatch.context() as patch:
            use(patch, implementation, library)
            with Shards(config.threads, config.shards, config.batch_size) as shards:
                trainer = Trainer(model, config, ids, shards)
                losses = [trainer.step()["train_loss"] for _ in range(STEPS)]
        return np.array(losses), {name: p.data for name, p in model.named_parameters()}

    again.once = functools.cache(again)
    return again


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair != ("numpy", "numpy")], ids=name)
def test_every_step_has_the_loss_that_numpy_gives(pair, train):
    expected, _ = train.once("numpy", "numpy")
    losses, _ = train.once(*pair)
    assert np.abs(losses - expected).max() < 1e-3
    assert expected[-20:].mean() < expected[0] - 1.5
    assert pair[0] == "numpy" or (losses != expected).any()  # it is another computation; MKL alone may add in the same order


@needs_mkl
@pytest.mark.parametrize("implementation", kernels.IMPLEMENTATIONS)
def test_bfloat16_repeats_its_bits_and_learns_as_well(implementation, train):
    losses, weights = train.once(implementation, "mkl", "bfloat16")
    again, same = train(implementation, "mkl", "bfloat16")
    assert losses.tobytes() == again.tobytes()
    assert all(weights[name].tobytes() == same[name].tobytes() for name in weights)
    assert {p.dtype for p in weights.values()} == {np.dtype(np.float32)}
    expected, _ = train.once("numpy", "numpy")
    assert losses[-20:].mean() == pytest.approx(expected[-20:].mean(), abs=0.05)
    assert losses[0] == pytest.approx(expected[0], abs=0.02)
    assert np.abs(losses - expected).max() > 1e-4  # it is rounded


# -- a run and its arithmetic


@pytest.fixture(scope="module")
def begun(tmp_path_factory, text):
    """A run by the NumPy kernels."""
    folder = tmp_path_factory.mktemp("fast")
    (folder / "my.txt").write_text(text)
    shape = [f"--{key.replace('_', '-')}={value}" for key, value in MODEL.items()]
    command = [
        "train",
        "--data",
        str(folder / "my.txt"),
        "--out",
        str(folder / "run"),
        *shape,
        "--steps=4",
        "--sample-tokens=0",
    ]
    with pytest.MonkeyPatch.context() as patch:
        use(patch, "numpy", "numpy")
        assert main([*command, "--threads=2", "--shards=1"]) == 0
    return folder / "run"


def test_a_run_says_what_added_its_numbers(begun):
    machine = json.loads((begun / "config.json").read_text())["machine"]
    expected = {"kernels": "numpy", "products": "numpy", "threads": 2, "shards": 1}
    assert {key: machine[key] for key in expected} == expected


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair != ("numpy", "numpy")], ids=name)
def test_a_run_is_not_resumed_by_other_kernels(begun, pair, monkeypatch, capsys):
    use(monkeypatch, *pair)
    before = (begun / "metrics.jsonl").read_bytes()
    assert main(["train", "--resume", "--out", str(begun)]) == 2
    error = capsys.readouterr().err
    for what, here in zip(("kernels", "products"), pair, strict=True):
        assert (f"{what} = {here} on this machine, was numpy" in error) == (here != "numpy")
    assert "--accept-changes trains on with them" in error
    assert (begun / "metrics.jsonl").read_bytes() == before


def test_other_threads_are_refused_with_what_would_do(begun, monkeypatch, capsys):
    use(monkeypatch, "numpy", "numpy")
    assert main(["train", "--resume", "--out", str(begun), "--threads=3"]) == 2
    assert "threads = 3" in capsys.readouterr().err
    assert main(["train", "--no-plots", "--resume", "--out", str(begun)]) == 0


@pytest.mark.parametrize("implementation", kernels.IMPLEMENTATIONS)
def test_bfloat16_without_mkl_is_one_clear_line(implementation, tmp_path, text, monkeypatch, capsys):
    use(monkeypatch, implementation, "numpy")
    monkeypatch.setattr(products, "mkl", lambda: None)
    (tmp_path / "my.txt").write_text(text)
    command = ["train", "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "run"), "--steps=2", "--dtype=bfloat16"]
    assert main([*command, "--d-model=8", "--num-heads=2", "--max-seq-len=8", "--sample-tokens=0"]) == 2
    error = capsys.readouterr().err
    assert "bfloat16 products need MKL: pip install 'tinygrad2[mkl]'" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


# -- gpt2 bench

LAYERS = 3
SMALL = f"--vocab-size=65 --d-model=32 --num-layers={LAYERS} --num-heads=2 --max-seq-len=16 --batch-size=4 --threads=2".split()


def bench(capsys, *arguments):
    assert main(["bench", *SMALL, "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("pair", PAIRS, ids=name)
def test_bench(pair, monkeypatch, capsys):
    use(monkeypatch, *pair)
    monkeypatch.setattr(benchmark, "MATRIX", 128)
    found = bench(capsys, "--steps=3", "--warmup=1")
    for key in ("step_ms", "min_ms", "tokens_per_s", "peak_mb", "mfu", "matrix_gflops", "loss"):
        assert 0 < found[key] < math.inf
    assert found["min_ms"] <= found["step_ms"]
    assert found["tokens_per_s"] == pytest.approx(1e3 * 4 * 16 / found["step_ms"], rel=0.02)
    assert (found["kernels"], found["products"], found["threads"]) == (*pair, 2)
    assert found["shards"] == (1 if kernels.SPREADS else 2)
    assert found["unit"] == products.unit()
    assert "profile" not in found


def test_the_first_loss_of_random_tokens_is_ln_v(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "MATRIX", 128)
    found = bench(capsys, "--steps=1", "--warmup=0", "--vocab-size=5000", "--init=gpt2")
    assert found["loss"] == pytest.approx(math.log(5000), abs=0.05)


def ops_as_they_are():
    """What a profile changes."""
    found, waiting = {}, [Op]
    while waiting:
        op = waiting.pop()
        waiting.extend(op.__subclasses__())
        found[op] = (vars(op).get("run"), vars(op).get("vjp"))
    return found, kernels.current


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("implementation", kernels.IMPLEMENTATIONS)
def test_a_profile_counts_what_the_model_has(implementation, shards, monkeypatch, capsys):
    use(monkeypatch, implementation, LIBRARIES[implementation][-1])
    monkeypatch.setattr(benchmark, "MATRIX", 128)
    before = ops_as_they_are()
    found = bench(capsys, "--steps=3", "--warmup=0", "--profile", f"--shards={shards}")
    assert ops_as_they_are() == before
    calls = {row["op"]: row["calls"] for row in found["profile"]["ops"]}
    expected = {"linear": 4 * LAYERS, "causal_attention": LAYERS, "gelu": LAYERS, "layer_norm": 2 * LAYERS + 1}
    expected["linear_cross_entropy"] = 1
    for op, count in expected.items():
        assert (calls[op], calls[f"{op} backward"]) == (shards * count, shards * count)
    parameters = len(GPT2(GPT2Config(vocab_size=65, d_model=32, num_layers=LAYERS, num_heads=2)).parameters())
    assert calls["adamw"] == parameters - 4 * LAYERS
    assert calls["orthogonalised"] == 6 * LAYERS  # those of queries, keys and values apart
    shares = [row["share"] for row in found["profile"]["ops"]]
    assert shares == sorted(shares, reverse=True)
    assert found["profile"]["outside"] == pytest.approx(1 - sum(shares), abs=1e-3 * len(shares))
    rates = {row["op"] for row in found["profile"]["ops"] if row["gflops"] is not None}
    assert {"linear", "linear backward", "causal_attention", "causal_attention backward", "linear_cross_entropy"} == rates


def test_what_several_work_on_takes_its_share_of_their_time():
    """Shards the ops, threads Muon's matrices, and AdamW nobody else."""
    profile = Profile()
    profile.calls = [("orthogonalised", 1.0, 0, 0.0)] * 4 + [("linear", 1.0, 0, 0.0)] * 2 + [("adamw", 1.0, 0, 0.0)]
    found = profile.table(10.0, shards=2, threads=4)
    assert {row["op"]: row["ms"] for row in found["ops"]} == dict.fromkeys(("orthogonalised", "linear", "adamw"), 1000.0)
    assert found["outside"] == pytest.approx(0.7)


def test_a_profile_ends_where_a_step_fails():
    before = ops_as_they_are()
    profile = Profile()
    with pytest.raises(ZeroDivisionError), profile.watching():
        _ = 1 / 0
    assert ops_as_they_are() == before


def test_a_profile_is_shown_as_a_table(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "MATRIX", 128)
    assert main(["bench", *SMALL, "--steps=1", "--warmup=0", "--profile"]) == 0
    out = capsys.readouterr().out
    assert "a step of 64 tokens" in out
    assert f"kernels: {kernels.running()['kernels']}; products: " in out
    assert any(line.startswith("causal_attention backward ") for line in out.splitlines())
    assert out.splitlines()[-1].startswith("outside of ops and kernels")
