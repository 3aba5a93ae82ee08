"""The speed experiment computes what it says it does. Nothing here is timed."""

import ast
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # experiments are run from the repository, and not installed

from experiments.speed import contenders, figures, results, run
from experiments.speed.contenders import CONTENDERS, WORKLOADS, Contender

SPEED = contenders.ROOT / "experiments" / "speed"
NAMES = list(CONTENDERS)
NUMPY, FAST, EAGER, COMPILED, OURS_BF16, EAGER_BF16, COMPILED_BF16 = NAMES


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
        rows.append(row)
    return rows


SESSION = {
    "session": {
        "command": "python -m experiments.speed.run",
        "machine": {"cpu": "a CPU", "cores": 2, "flags": ["avx2"], "versions": {"Python": "3.11", "torch": "2", "mkl": None}},
    }
}
THREE = [
    *round_of(0, [50, 120, 100, 80, 300, 200, 250], memory={FAST: 60, EAGER: 120, COMPILED: 200}),
    *round_of(1, [60, 150, 100, 200, 330, 300, 150], memory={FAST: 70, EAGER: 120, COMPILED: 200}),
    *round_of(2, [44, 132, 110, 90, 360, 240, 180], memory={FAST: 65, EAGER: 120, COMPILED: 200}),
]


@pytest.fixture
def summary():
    return results.summarise([SESSION, *THREE])["workloads"]["char"]


def test_a_ratio_is_to_the_best_pytorch_of_the_same_type_and_round(summary):
    assert summary["speed"][FAST] == {"median": 1.2, "min": 0.75, "max": 1.2, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["speed"][NUMPY] == {"median": 0.4, "min": 0.3, "max": 0.5, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["speed"][OURS_BF16] == {"median": 1.2, "min": 1.1, "max": 1.5, "against": {COMPILED_BF16: 1, EAGER_BF16: 2}}
    assert set(summary["speed"]) == set(summary["memory"]) == {NUMPY, FAST, OURS_BF16}


def test_what_the_picture_shows_is_over_the_best_float32(summary):
    assert summary["relative"][OURS_BF16] == {"median": 3.0, "min": 1.65, "max": 3.273, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["relative"][EAGER] == {"median": 1.0, "min": 0.5, "max": 1.0, "against": {COMPILED: 1, EAGER: 2}}
    assert summary["relative"][COMPILED]["median"] == 0.818


def test_medians_and_the_memory_of_the_fastest_peer(summary):
    fast = summary["contenders"][FAST]
    assert (fast["tokens_per_s"], fast["step_ms"], fast["min_ms"], fast["peak_mb"]) == (132, 7575.7576, 6000.0, 65)
    assert (fast["kernels"], fast["products"], fast["unit"], fast["failed"]) == ("numba", "mkl", None, 0)
    assert summary["memory"][FAST] == {"ratio": round(65 / 120, 3), "against": EAGER}
    assert (summary["rounds"], summary["disturbed"], summary["others"]) == (3, 0, 0.01)


def test_a_contender_that_failed_is_reported_and_compares_nothing():
    rows = [SESSION, *THREE[:7], *round_of(1, [60, None, 100, None, None, None, None])]
    result = results.summarise(rows)
    char = result["workloads"]["char"]
    assert char["speed"][FAST] == {"median": 1.2, "min": 1.2, "max": 1.2, "against": {EAGER: 1}}
    assert char["speed"][NUMPY]["median"] == 0.55
    assert (char["contenders"][FAST]["failed"], char["contenders"][FAST]["error"]) == (1, "MemoryError: 3 GB")
    text = results.table(result)
    assert "- char, ours, fast+mkl: 1 of 2 failed: `MemoryError: 3 GB`" in text
    assert "| 120 (1 failed) |" in text


def test_where_all_have_failed_there_is_a_table_and_a_picture_too(tmp_path):
    result = results.summarise([SESSION, *round_of(0, [None] * 7)])
    assert result["workloads"]["char"]["speed"] == dict.fromkeys((NUMPY, FAST, OURS_BF16))
    assert "| char | ours, NumPy | failed | – | – | – | – |" in results.table(result)
    figures.draw_workloads(result["workloads"], tmp_path / "figure.png")


def test_a_round_that_was_interrupted_or_disturbed_is_left_out():
    interrupted = round_of(3, [1] * 7)[:4]
    disturbed = round_of(4, [1, 1, 1, 1, 1, 1, 1], others=0.5)
    char = results.summarise([SESSION, *THREE, *interrupted, *disturbed])["workloads"]["char"]
    assert (char["rounds"], char["disturbed"], char["contenders"][FAST]["tokens_per_s"]) == (3, 1, 132)
    alone = results.summarise([SESSION, *disturbed])["workloads"]["char"]
    assert (alone["rounds"], alone["disturbed"], alone["others"]) == (1, 1, 0.5)


def test_nothing_measured_is_said():
    assert results.table(results.summarise([])).startswith("No result yet")
    assert (SPEED / "result.json").exists() or results.table(results.summarise([])) in (SPEED / "README.md").read_text("utf-8")


def test_workloads_are_in_their_order_whichever_was_measured_first():
    rows = [SESSION, *round_of(0, [1] * 7, "small1k"), *round_of(0, [1] * 7, "char")]
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
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (SESSION, *THREE, *scaling)), "utf-8")
    (tmp_path / "README.md").write_text(f"before\n{results.START}\nold\n{results.END}\nafter\n", "utf-8")
    text = run.write_outputs(tmp_path)
    assert (tmp_path / "README.md").read_text("utf-8") == f"before\n{results.START}\n{text}{results.END}\nafter\n"
    assert results.table(json.loads((tmp_path / "result.json").read_text("utf-8"))) == text
    assert "| char | ours, fast+mkl | 132 | **1.20** | 0.75 to 1.20 | 0.54 | 50% of 300 GFLOP/s |" in text
    assert "python -m experiments.speed.run" in text
    only_scaling = results.table(results.summarise([SESSION, *scaling]))
    assert "| T 64, B 64, threads" in only_scaling
    assert "char" not in only_scaling
    assert (tmp_path / "figure.png").stat().st_size > 10_000 < (tmp_path / "scaling.png").stat().st_size


def test_rounds_go_on_where_they_stopped_and_begin_with_another(tmp_path, monkeypatch):
    path, order = tmp_path / "rows.jsonl", []

    def made_up(workload, contender):
        order.append((workload.name, contender.name))
        return next(row for row in round_of(0, [100] * 7, workload.name) if row["contender"] == contender.name)

    # `round` and `of` come from the run itself
    monkeypatch.setattr(run, "measure", lambda *a: {k: v for k, v in made_up(*a).items() if k not in ("round", "of")})
    for row in (SESSION, *round_of(0, [100] * 7), *round_of(1, [100] * 7)[:2]):
        run.append(path, row)
    run.measure_all([WORKLOADS["char"], WORKLOADS["baby"]], pairs=2, passes=4, wait=0, path=path)
    assert [w for w, _ in order] == ["char"] * 7 + ["baby"] * 14
    assert [name for _, name in order[:7]] == NAMES[2:] + NAMES[:2]
    assert [name for _, name in order[14:]] == NAMES[1:] + NAMES[:1]
    rows = results.read_rows(path)
    assert [len(results.rounds_of(rows, name)) for name in ("char", "baby")] == [2, 2]
    order.clear()
    run.measure_all([WORKLOADS["char"]], pairs=2, passes=4, wait=0, path=path)
    assert order == []


def test_rows_of_another_machine_are_not_mixed_with_ours(tmp_path):
    path = tmp_path / "rows.jsonl"
    for row in (SESSION, *THREE):
        run.append(path, row)
    with pytest.raises(SystemExit, match="another machine"):
        run.start_session(path, [], "python ...")
    run.start_session(path, [WORKLOADS["char"]], "python ...")
    (only,) = results.read_rows(path)
    assert only["session"]["machine"] == run.machine()


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


@pytest.mark.parametrize("name", [NUMPY, FAST, OURS_BF16, EAGER])
@pytest.mark.parametrize(("kernels", "products"), [("numpy", "numpy"), ("numpy", "mkl"), ("numba", "numpy"), ("numba", "mkl")])
def test_a_contender_runs_what_its_name_says(name, kernels, products):
    expected = {NUMPY: ("numpy", "numpy"), FAST: ("numba", "mkl"), OURS_BF16: ("numba", "mkl"), EAGER: (kernels, products)}
    right = CONTENDERS[name].is_what_ran({"kernels": kernels, "products": products})
    assert right == (expected[name] == (kernels, products))


def test_the_published_table_has_the_numbers_of_result_json():
    result = json.loads((SPEED / "result.json").read_text("utf-8"))
    page = (SPEED / "README.md").read_text("utf-8")
    text = page.partition(results.START + "\n")[2].partition(results.END)[0]
    assert text == results.table(result)
    ratios = re.findall(r"^\| (\w+) \| (ours, [^|]+) \| [^|]+ \| \*\*([\d.]+)\*\* \| ([\d.]+) to ([\d.]+) \|", text, re.M)
    for workload, ours, *numbers in ratios:
        speed = result["workloads"][workload]["speed"][ours]
        assert [f"{speed[key]:.2f}" for key in ("median", "min", "max")] == numbers
    assert len(ratios) == sum(speed is not None for w in result["workloads"].values() for speed in w["speed"].values())
    assert results.summarise(results.read_rows(SPEED / "rows.jsonl")) == result


def test_the_peer_needs_only_pytorch():
    tree = ast.parse((SPEED / "torch_gpt2.py").read_text("utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found - set(sys.stdlib_module_names) == {"torch"}


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peers_first_loss_is_that_of_a_model_that_knows_nothing(torch, dtype):
    shape = WORKLOADS["char"].shape
    words = [str(SPEED / "torch_gpt2.py"), *shape.flags(), "--steps", "1", "--warmup", "0", "--threads", "1", "--dtype", dtype]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["loss"] == pytest.approx(math.log(shape.vocab_size), rel=0.05)
    assert {"step_ms", "min_ms", "tokens_per_s", "peak_mb"} < set(found)
