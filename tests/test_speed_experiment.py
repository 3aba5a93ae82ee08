"""The speed experiment computes what it says it does. Nothing here is timed."""

import ast
import json
import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # experiments are run from the repository, and not installed

from experiments.speed import contenders, figures, machine, results, run
from experiments.speed.contenders import CONTENDERS, WORKLOADS, Contender

SPEED = contenders.ROOT / "experiments" / "speed"
MACHINES = sorted(path.name for path in (SPEED / "machines").iterdir())
NAMES = list(CONTENDERS)
NUMPY, FAST, MKL, EAGER, COMPILED, JAX, OURS_BF16, EAGER_BF16, COMPILED_BF16 = NAMES


def round_of(number, speeds, workload="char", memory=None, others=0.01, **changes):
    """A made-up round: tokens per second by contender; None for one that failed."""
    rows = []
    for name, speed in zip(NAMES, speeds, strict=True):
        w = WORKLOADS[workload]
        row = {"round": number, "of": len(speeds), "study": w.study, "workload": workload, "contender": name}
        row |= {"shape": vars(w.shape), "threads": 2, "command": "python ...", "seconds": 1.0, "others": others, **changes}
        if speed is None:
            row["error"] = "MemoryError: 3 GB"
        else:
            peak = (memory or {}).get(name, 100)
            row["found"] = {"step_ms": 1e6 / speed, "min_ms": 9e5 / speed, "tokens_per_s": speed, "peak_mb": peak, "loss": 4.2}
            if CONTENDERS[name].ours:
                row["found"] |= {"mfu": 0.5, "matrix_gflops": 300.0, "kernels": "numba", "products": "mkl", "unit": None}
            if name == MKL:  # the fastest library is now one and now the other, and in the median round it is the slower one
                rates = ({"mkl": 100.0, "b": 200.0}, {"mkl": 160.0, "b": 50.0}, {"mkl": 187.5, "b": 10.0})
                row["found"] |= {"threads": 2, "libraries": rates[number % 3]}
        rows.append(row)
    return rows


SESSION = {
    "session": {
        "command": "python -m experiments.speed.run",
        "machine": {"cpu": "a CPU", "cores": 2, "flags": ["avx2"], "versions": {"Python": "3.11", "torch": "2", "jax": None}},
    }
}
THREE = [
    *round_of(0, [50, 90, 120, 100, 80, 140, 300, 200, 250], memory={MKL: 60, EAGER: 120, COMPILED: 200}),
    *round_of(1, [60, 90, 150, 100, 200, 150, 330, 300, 150], memory={MKL: 70, EAGER: 120, COMPILED: 200}),
    *round_of(2, [44, 99, 132, 110, 90, 154, 360, 240, 180], memory={MKL: 65, EAGER: 120, COMPILED: 200}),
]


@pytest.fixture
def summary():
    return results.summarise([SESSION, *THREE])["workloads"]["char"]


def test_a_ratio_is_to_the_best_pytorch_of_the_same_type_and_round(summary):
    assert summary["speed"][MKL] == {"median": 1.2, "min": 0.75, "max": 1.2, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["speed"][NUMPY] == {"median": 0.4, "min": 0.3, "max": 0.5, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["speed"][OURS_BF16] == {"median": 1.2, "min": 1.1, "max": 1.5, "against": {COMPILED_BF16: 1, EAGER_BF16: 2}}
    assert summary["speed"][JAX] == {"median": 1.4, "min": 0.75, "max": 1.4, "against": {COMPILED: 1, EAGER: 2}}
    assert list(summary["speed"]) == list(summary["memory"]) == [NUMPY, FAST, MKL, JAX, OURS_BF16]


def test_what_the_picture_shows_is_over_the_best_float32(summary):
    assert summary["relative"][OURS_BF16] == {"median": 3.0, "min": 1.65, "max": 3.273, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["relative"][EAGER] == {"median": 1.0, "min": 0.5, "max": 1.0, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["relative"][COMPILED]["median"] == 0.818


def test_medians_and_the_memory_of_the_fastest_peer(summary):
    fast = summary["contenders"][MKL]
    assert (fast["tokens_per_s"], fast["step_ms"], fast["min_ms"], fast["peak_mb"]) == (132, 7575.7576, 6000.0, 65)
    assert (fast["kernels"], fast["products"], fast["unit"], fast["failed"]) == ("numba", "mkl", None, 0)
    assert summary["memory"][MKL] == {"ratio": round(65 / 120, 3), "against": EAGER}
    assert (summary["rounds"], summary["disturbed"], summary["others"]) == (3, 0, 0.01)


def test_a_contender_that_failed_is_reported_and_compares_nothing():
    rows = [SESSION, *THREE[:9], *round_of(1, [60, 90, None, 100, None, None, None, None, None])]
    result = results.summarise(rows)
    char = result["workloads"]["char"]
    assert char["speed"][MKL] == {"median": 1.2, "min": 1.2, "max": 1.2, "against": {EAGER: 1}}
    assert char["speed"][NUMPY]["median"] == 0.55
    assert (char["contenders"][MKL]["failed"], char["contenders"][MKL]["error"]) == (1, "MemoryError: 3 GB")
    text = results.tables({"here": result})
    assert "- char, ours, fast+mkl: 1 of 2 failed: `MemoryError: 3 GB`" in text
    assert "| 120 (1 failed) |" in text


def test_where_all_have_failed_there_is_a_table_and_a_picture_too(tmp_path):
    result = results.summarise([SESSION, *round_of(0, [None] * 9)])
    assert result["workloads"]["char"]["speed"] == dict.fromkeys((NUMPY, FAST, MKL, JAX, OURS_BF16))
    assert "| char | ours, NumPy | failed | – | – | – | – | – |" in results.ratios({"here": result})
    figures.draw_workloads(result["workloads"], tmp_path / "figure.png")


def test_a_round_that_was_interrupted_or_disturbed_is_left_out():
    interrupted = round_of(3, [1] * 9)[:4]
    disturbed = round_of(4, [1] * 9, others=0.5)
    char = results.summarise([SESSION, *THREE, *interrupted, *disturbed])["workloads"]["char"]
    assert (char["rounds"], char["disturbed"], char["contenders"][MKL]["tokens_per_s"]) == (3, 1, 132)
    alone = results.summarise([SESSION, *disturbed])["workloads"]["char"]
    assert (alone["rounds"], alone["disturbed"], alone["others"]) == (1, 1, 0.5)


def test_nothing_measured_is_said():
    for of in ({}, {"here": results.summarise([])}):
        assert results.tables(of) == results.ratios(of) == "No result yet: `python -m experiments.speed.run` fills this in.\n"


def test_workloads_are_in_their_order_whichever_was_measured_first():
    rows = [SESSION, *round_of(0, [1] * 9, "small1k"), *round_of(0, [1] * 9, "char")]
    assert list(results.summarise(rows)["workloads"]) == ["char", "small1k"]


def test_a_line_that_was_cut_off_is_not_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(SESSION) + "\n" + json.dumps(THREE[0])[:40], "utf-8")
    assert results.read_rows(path) == [SESSION]
    assert results.read_rows(tmp_path / "none") == []


def test_outputs_are_made_from_the_rows_alone(tmp_path):
    scaling = [{**row, "study": "scaling", "of": 3} for row in THREE if row["contender"] in (NUMPY, FAST, EAGER)]
    scaling = [
        {**row, "workload": w.name, "shape": vars(w.shape), "threads": w.threads}
        for w in contenders.sweeps()
        for row in scaling
    ]
    rows = {"a": (SESSION, *THREE, *scaling), "b": (SESSION, *scaling), "c": (SESSION,)}
    docs = tmp_path / "page.md"
    for page in (tmp_path / "README.md", docs):
        page.write_text(f"before\n{results.START}\nold\n{results.END}\nafter\n", "utf-8")
    for name, lines in rows.items():
        folder = tmp_path / "machines" / name
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")
        run.write_results(folder)
    run.write_tables(tmp_path, docs)
    found = {name: json.loads((tmp_path / "machines" / name / "result.json").read_text("utf-8")) for name in rows}
    for page, text in ((tmp_path / "README.md", results.tables(found)), (docs, results.ratios(found))):
        assert page.read_text("utf-8") == f"before\n{results.START}\n{text}{results.END}\nafter\n"
        assert "| char | ours, fast+mkl | 132 | **1.20** | 0.75 to 1.20 | 0.54 | 50% of 300 GFLOP/s | 0.80 (mkl) |" in text
    assert results.ratios(found).count("### a CPU, 2 cores") == 1  # of the second machine there are only sweeps
    both = results.tables(found)
    assert both.count("### a CPU, 2 cores") == both.count("| T 64, B 64, threads") == both.count("run\n```") == 2
    assert (both.count("](machines/a/figure.png)"), both.count("machines/b/figure.png"), both.count("machines/c")) == (1, 0, 0)
    pictures = [tmp_path / "machines" / name for name in ("a/figure.png", "a/scaling.png", "b/scaling.png")]
    assert sorted(tmp_path.rglob("*.png")) == pictures
    assert all(picture.stat().st_size > 10_000 for picture in pictures)


def test_the_rate_is_compared_with_the_fastest_library_of_the_same_process(summary):
    assert summary["contenders"][MKL]["over_library"] == 0.8  # the median of 150/200, 150/160 and 150/187.5
    assert summary["contenders"][MKL]["libraries"] == {"mkl": 160, "b": 50}
    assert "over_library" not in summary["contenders"][NUMPY]


def test_what_a_machine_lacks_is_left_out_and_said(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "--workloads", "char,mid", "small1k", "--steps", "7", "--scaling"])
    versions = {"torch": "2", "jax": None, "numba": None, "mkl": "2026"}
    here = {"cpu": "a CPU", "cores": 2, "flags": ["avx2", "avx512f"], "versions": versions}
    workloads = run.chosen(run.arguments(), here)
    assert [w.name for w in workloads] == ["char", "mid", "small1k", *(w.name for w in contenders.sweeps())]
    assert {w.contenders for w in workloads[:3]} == {(NUMPY, EAGER, COMPILED)}
    assert {w.contenders for w in workloads[3:]} == {(NUMPY, EAGER)}
    assert {w.steps for w in workloads} == {7}
    said = capsys.readouterr().out
    assert f"{JAX} is left out: not installed (it needs jax)\n" in said
    assert f"{EAGER_BF16} is left out: no bfloat16 unit (it needs torch)\n" in said
    rows = [row for row in round_of(0, [1] * 9) if row["contender"] in workloads[0].contenders]
    result = results.summarise([{"session": {"command": "", "machine": here}}, *({**row, "of": 3} for row in rows)])
    text = results.tables({"here": result})
    for line in (f"{FAST} | not installed |", f"{JAX} | not installed |", f"{COMPILED_BF16} | no bfloat16 unit |"):
        assert text.count(f"| {line}") == 2  # milliseconds and memory
    of_another_time = {**result, "machine": {**here, "versions": {"torch": "2"}}}
    assert f"| {JAX} | not measured |" in results.tables({"here": of_another_time})
    assert CONTENDERS[OURS_BF16].missing({**here, "flags": ["amx_bf16"], "versions": {**versions, "numba": "0"}}) is None


def test_a_workload_that_does_not_exist_is_named(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "--workloads", "char,midd"])
    with pytest.raises(SystemExit):
        run.arguments()
    assert "there is no workload 'midd'; there are char, baby, mid, small64, small1k" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("vendor", "family", "model", "name", "flags", "expected"),
    [
        ("AuthenticAMD", 23, 49, "AMD EPYC", "avx2", "amd-epyc-zen-2-4-cores-avx2"),
        ("AuthenticAMD", 25, 1, "AMD EPYC", "fma avx2", "amd-epyc-zen-3-4-cores-avx2"),
        ("AuthenticAMD", 25, 17, "AMD EPYC", "avx2 avx512f avx512_bf16", "amd-epyc-zen-4-4-cores-avx512-bf16"),
        ("AuthenticAMD", 26, 2, "AMD EPYC", "avx512_bf16 avx2 avx512f", "amd-epyc-zen-5-4-cores-avx512-bf16"),
        ("AuthenticAMD", 99, 7, "AMD EPYC", "avx2", "amd-epyc-family-99-model-7-4-cores-avx2"),
        ("GenuineIntel", 6, 85, "Intel(R) Xeon(R) CPU @ 2.00GHz", "avx2 avx512f", "intel-xeon-4-cores-avx512f"),
    ],
)
def test_a_processor_has_a_folder_of_its_own(vendor, family, model, name, flags, expected):
    facts = {"vendor_id": vendor, "cpu family": family, "model": model, "model name": name, "flags": f"fpu {flags} rdpid"}
    text = "\n".join(f"{key}\t: {value}" for key, value in facts.items())
    assert machine.slug({**machine.processor(text), "cores": 4}) == expected


def test_a_processor_of_which_nothing_is_known_has_a_folder_too():
    assert machine.slug({**machine.processor(""), "cores": 4}).endswith("4-cores")
    assert machine.slug(machine.machine())


@pytest.mark.parametrize("name", MACHINES)
def test_results_are_in_the_folder_of_their_machine(name):
    assert machine.slug(json.loads((SPEED / "machines" / name / "result.json").read_text("utf-8"))["machine"]) == name


def test_rounds_go_on_where_they_stopped_and_begin_with_another(tmp_path, monkeypatch):
    path, order = tmp_path / "rows.jsonl", []

    def made_up(workload, contender):
        order.append((workload.name, contender.name))
        return next(row for row in round_of(0, [100] * 9, workload.name) if row["contender"] == contender.name)

    # `round` and `of` come from the run itself
    monkeypatch.setattr(run, "measure", lambda *a: {k: v for k, v in made_up(*a).items() if k not in ("round", "of")})
    for row in (SESSION, *round_of(0, [100] * 9), *round_of(1, [100] * 9)[:2]):
        run.append(path, row)
    run.measure_all([WORKLOADS["char"], WORKLOADS["baby"]], rounds=2, passes=4, wait=0, path=path)
    assert [w for w, _ in order] == ["char"] * 9 + ["baby"] * 18
    assert [name for _, name in order[:9]] == NAMES[2:] + NAMES[:2]
    assert [name for _, name in order[18:]] == NAMES[1:] + NAMES[:1]
    rows = results.read_rows(path)
    assert [len(results.rounds_of(rows, name)) for name in ("char", "baby")] == [2, 2]
    order.clear()
    run.measure_all([WORKLOADS["char"]], rounds=2, passes=4, wait=0, path=path)
    assert order == []


def test_rows_of_other_versions_are_not_mixed_with_ours(tmp_path):
    path, here = tmp_path / "rows.jsonl", run.machine()
    for row in (SESSION, *THREE):
        run.append(path, row)
    run.start_session(path, [], "python ...", SESSION["session"]["machine"])
    assert len(results.read_rows(path)) == len(THREE) + 2
    newer = {**SESSION["session"]["machine"], "versions": {**SESSION["session"]["machine"]["versions"], "jax": "1.5"}}
    with pytest.raises(SystemExit, match=r"\(jax was None and is 1\.5\)"):
        run.start_session(path, [], "python ...", newer)
    run.start_session(path, [WORKLOADS["char"]], "python ...", here)
    (only,) = results.read_rows(path)
    assert only["session"]["machine"] == here


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('a line'); print('{\"loss\": 4.2, \"tokens_per_s\": 10}')", {"found": {"loss": 4.2, "tokens_per_s": 10}}),
        ("import sys; print('first', file=sys.stderr); sys.exit('the last word')", {"error": "the last word"}),
        ("raise SystemExit(3)", {"error": "exit code 3, without a word"}),
        ('print(\'{"loss": NaN, "tokens_per_s": 10}\')', {"error": "loss nan at 10 tokens/s"}),
        (
            "print('no JSON')",
            {"error": "its last line is no result: JSONDecodeError('Expecting value: line 1 column 1 (char 0)')"},
        ),
    ],
)
def test_a_measurement_is_what_the_program_printed_or_why_it_failed(code, expected):
    row = contenders.measure(WORKLOADS["char"], Contender("made up", "float32", ("-c", code)))
    assert {key: row[key] for key in ("found", "error") if key in row} == expected
    assert {"study", "workload", "contender", "shape", "threads", "command", "seconds", "others"} <= set(row)


def test_a_measurement_knows_nothing_of_another_time(monkeypatch):
    monkeypatch.setenv("TINYGRAD2_CACHE", "full")
    monkeypatch.setenv("TINYGRAD2_PRODUCTS", "mkl")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    code = """if True:
        import json, os
        kept = os.listdir(os.environ["TINYGRAD2_CACHE"])
        given = [name for name in os.environ if name.startswith("TINYGRAD2_") or name.endswith("_NUM_THREADS")]
        print(json.dumps({"loss": 1, "tokens_per_s": 1, "kept": kept, "given": sorted(given)}))"""
    row = contenders.measure(
        WORKLOADS["char"], Contender("made up", "float32", ("-c", code), (), {"TINYGRAD2_KERNELS": "numpy"})
    )
    assert row["found"]["kept"] == []
    assert row["found"]["given"] == ["TINYGRAD2_CACHE", "TINYGRAD2_KERNELS"]
    assert row["command"].startswith("TINYGRAD2_KERNELS=numpy python -c ")


@pytest.mark.parametrize("name", [NUMPY, FAST, MKL, OURS_BF16, EAGER])
@pytest.mark.parametrize("kernels", ["numpy", "numba"])
@pytest.mark.parametrize("products", ["numpy", "openblas", "mkl"])
def test_a_contender_runs_what_its_name_says(name, kernels, products):
    without = ("numpy", "openblas")
    expected = {NUMPY: ("numpy", without), FAST: ("numba", without)}.get(name, ("numba", (*without, "mkl")))
    right = CONTENDERS[name].is_what_ran({"kernels": kernels, "products": products})
    assert right == (name == EAGER or (kernels == expected[0] and products in expected[1]))


def test_the_published_tables_have_the_numbers_of_the_results():
    found = {name: json.loads((SPEED / "machines" / name / "result.json").read_text("utf-8")) for name in MACHINES}
    page = (SPEED / "README.md").read_text("utf-8")
    text = page.partition(results.START + "\n")[2].partition(results.END)[0]
    assert text == results.tables(found)
    assert all(result["workloads"] or result["scaling"] for result in found.values())
    sections = text.split("### ")[1:]
    for section, (name, result) in zip(sections, found.items(), strict=True):
        ratios = re.findall(r"^\| (\w+) \| ([^|]+) \| [^|]+ \| \*\*([\d.]+)\*\* \| ([\d.]+) to ([\d.]+) \|", section, re.M)
        for workload, one, *numbers in ratios:
            speed = result["workloads"][workload]["speed"][one]
            assert [f"{speed[key]:.2f}" for key in ("median", "min", "max")] == numbers
        assert len(ratios) == sum(speed is not None for w in result["workloads"].values() for speed in w["speed"].values())
        assert results.summarise(results.read_rows(SPEED / "machines" / name / "rows.jsonl")) == result


@pytest.mark.parametrize(("file", "package"), [("torch_gpt2.py", "torch"), ("jax_gpt2.py", "jax"), ("peer.py", None)])
def test_a_peer_needs_only_its_package(file, package):
    tree = ast.parse((SPEED / file).read_text("utf-8"))
    found = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found - set(sys.stdlib_module_names) == ({package, "peer"} if package else set())


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("file", "dtype"), [("torch_gpt2.py", "float32"), ("torch_gpt2.py", "bfloat16"), ("jax_gpt2.py", "float32")]
)
def test_a_peers_first_loss_is_that_of_a_model_that_knows_nothing(file, dtype):
    pytest.importorskip(file.partition("_")[0])
    shape = WORKLOADS["char"].shape
    words = [str(SPEED / file), *shape.flags(), "--steps", "1", "--warmup", "0", "--threads", "1", "--dtype", dtype]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["loss"] == pytest.approx(math.log(shape.vocab_size), rel=0.05)
    assert {"step_ms", "min_ms", "tokens_per_s", "peak_mb"} < set(found)


@pytest.mark.oracle
def test_the_peers_make_the_same_steps(torch, monkeypatch):
    jax = pytest.importorskip("jax")
    monkeypatch.syspath_prepend(SPEED)
    ours, theirs = (runpy.run_path(str(SPEED / file)) for file in ("jax_gpt2.py", "torch_gpt2.py"))
    V, T, L, H, C, B = 11, 8, 2, 2, 16, 3
    p = ours["initial"](jax.random.key(3), V, T, L, C)
    p = jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape), p
    )  # nothing is 0 or 1, and it clips
    model = theirs["GPT2"](V, T, L, H, C)

    def give(module, weights):
        weight = np.asarray(weights["weight"])
        module.weight.data.copy_(torch.tensor(weight if weight.ndim == 1 else weight.T))
        module.bias.data.copy_(torch.tensor(np.asarray(weights["bias"])))

    model.tokens.weight.data.copy_(torch.tensor(np.asarray(p["tokens"])))
    model.positions.weight.data.copy_(torch.tensor(np.asarray(p["positions"])))
    give(model.norm, p["norm"])
    for block, weights in zip(model.blocks, p["blocks"], strict=True):
        (norm_1, attention), (norm_2, up, _, down) = block.attention, block.feed_forward
        modules = {"norm_1": norm_1, "qkv": attention.qkv, "out": attention.out, "norm_2": norm_2, "up": up, "down": down}
        for name, module in modules.items():
            give(module, weights[name])
    ids, targets = np.random.default_rng(0).integers(0, V, (2, B, T))
    step = ours["stepper"](p, ids, targets, H)
    other = theirs["stepper"](model, torch.tensor(ids), torch.tensor(targets), "eager", "float32")
    losses = [(step(), other()) for _ in range(30)]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=2e-5)
    assert losses[-1][0] < losses[0][0] - 0.1
