"""Mutation testing: is every line of the engine held by a test that fails without it?

Cosmic Ray makes the mutants (one small change each) and tries them; this script chooses which, gives each module the
tests that are its own, works in copies of the tree on several processes, and writes `result.json`. What survives must be
explained in `equivalent.json`; anything else that survives, or a score below 95%, is an error.

    python tests/mutation/run.py                                  # all of it
    python tests/mutation/run.py --modules tinygrad2/tensor.py  # some modules; the others keep their results
    python tests/mutation/run.py --survivors  # what survived the last time, and all of a module that has changed
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_and_test, mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_item import MutationSpec
from tqdm import tqdm

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULT, EQUIVALENT, README = HERE / "result.json", HERE / "equivalent.json", HERE / "README.md"
REQUIRED = 0.95

# The tests of a module, the likeliest to fail first. Those that compare with PyTorch are left out: loading it takes
# longer than all the rest, and the score should not need it.
OPS = (
    "tests/tinygrad2/ops/test_ops.py::test_gradient_against_finite_differences",
    "tests/tinygrad2/ops/test_ops.py::test_value_is_numpys",
    "tests/tinygrad2/ops/test_ops.py::test_fused_op_is_its_specification",
    "tests/tinygrad2/ops/test_ops.py::test_dimension_errors_name_the_shapes",
    "tests/tinygrad2/test_tensor.py",
    "tests/tinygrad2/ops/test_own_ops.py",
    "tests/tinygrad2/ops/test_ops.py",
    "tests/tinygrad2/test_transforms.py",
)
EDGES = ("tests/tinygrad2/ops/test_special_values.py", "tests/tinygrad2/ops/test_order.py::test_derivatives_at_edges")
MORE = ("tests/tinygrad2/ops/test_linear_algebra.py", "tests/tinygrad2/ops/test_order.py", *OPS[:2])
ENGINE = (
    "tests/tinygrad2/test_autograd.py",
    "tests/tinygrad2/ops/test_own_ops.py",
    "tests/tinygrad2/test_tensor.py",
    "tests/tinygrad2/test_transforms.py",
    "tests/tinygrad2/test_anomaly.py",
    "tests/tinygrad2/ops/test_ops.py::test_dimension_errors_name_the_shapes",
    "tests/tinygrad2/ops/test_ops.py::test_gradient_against_finite_differences",
)
FUSED = (
    "tests/tinygrad2/ops/test_ops.py::test_formula_is_the_rule",
    "tests/tinygrad2/ops/test_ops.py::test_fused_op_is_its_specification",
)
OPTIM = ("tests/tinygrad2/optim",)
SOURCE = ("tests/tinygrad2/ops/test_source.py", "tests/tinygrad2/ops/test_own_ops.py", "tests/tinygrad2/study/test_formulas.py")
TESTS = {
    "tinygrad2/autograd.py": ENGINE,
    "tinygrad2/graph.py": ENGINE,
    "tinygrad2/tensor.py": ENGINE,
    "tinygrad2/ops/op.py": (*SOURCE, *ENGINE, *OPS),
    "tinygrad2/ops/source.py": (*SOURCE, "tests/tinygrad2/ops/test_ops.py::test_formula_is_the_rule"),
    "tinygrad2/ops/arithmetic.py": (*OPS, *EDGES),
    "tinygrad2/ops/functions.py": (*OPS, *EDGES),
    "tinygrad2/ops/fused.py": (*FUSED, *OPS),
    "tinygrad2/ops/indexing.py": (*OPS, *EDGES),
    "tinygrad2/ops/products.py": OPS,
    "tinygrad2/ops/reductions.py": (*OPS, *EDGES),
    "tinygrad2/ops/linalg.py": MORE,
    "tinygrad2/ops/missing.py": MORE,
    "tinygrad2/ops/norms.py": MORE,
    "tinygrad2/ops/order.py": MORE,
    "tinygrad2/ops/padding.py": MORE,
    "tinygrad2/ops/shape.py": OPS,
    "tinygrad2/optim/clipping.py": OPTIM,
    "tinygrad2/optim/optimizers.py": OPTIM,
    "tinygrad2/optim/schedules.py": OPTIM,
}

# Of Cosmic Ray's operators, those whose mutants still run. Shifts and bit operations on floats, or < for `is`, raise at
# once: any test would kill them, and they would only flatter the score.
BINARY = "Add_Sub Add_Mul Sub_Add Sub_Mul Mul_Div Mul_Add Div_Mul Div_FloorDiv FloorDiv_Mul Mod_FloorDiv Pow_Mul BitOr_BitAnd"
COMPARISON = "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
OPERATORS = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in BINARY.split()),
    *(f"ReplaceComparisonOperator_{pair}" for pair in COMPARISON.split()),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_Invert"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "AddNot"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *("NumberReplacer", "ExceptionReplacer", "RemoveDecorator"),
)


@dataclass(frozen=True)
class Mutant:
    """One change of one line."""

    path: str
    operator: str
    occurrence: int
    line: int
    before: str
    after: str

    @property
    def name(self) -> tuple[int, str, str]:
        """Where and what, within its file."""
        return self.line, self.before, self.after


def mutants(path: str) -> list[Mutant]:
    """Every mutant of a file that can make a difference.

    Not one of an annotation, which is never run; of the `*` of a signature, which is no product; of `@staticmethod`, which
    a rule does not need, being called on its class.
    """
    code = (ROOT / path).read_text("utf-8")
    lines, tree = code.splitlines(), get_ast(code)
    unseen = [
        ((a.lineno, a.col_offset), (a.end_lineno or 0, a.end_col_offset or 0))
        for node in ast.walk(ast.parse(code))
        for a in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(a, ast.expr)
    ]
    found: dict[tuple[int, str, str], Mutant] = {}
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        starts = [start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(starts):
            here = lines[start[0] - 1][start[1] :]
            if here.startswith("*,") or here == "@staticmethod" or any(a <= start < b for a, b in unseen):
                continue
            changed = mutate_code(code, operator, occurrence)
            try:
                compile(changed, path, "exec")
            except SyntaxError:
                continue
            pairs = zip(lines, changed.splitlines(), strict=False)
            line, (old, new) = next((i, pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1])
            mutant = Mutant(path, f"core/{name}", occurrence, line, old.strip(), new.strip())
            found.setdefault(mutant.name, mutant)
    return sorted(found.values(), key=lambda m: (m.line, m.operator, m.occurrence))


def copy_of_the_tree(parent: str) -> None:
    """Give this process a copy of its own, where files may be changed, and go there."""
    folder = Path(parent, str(os.getpid()))
    for name in ("tinygrad2", "gpt2", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    os.chdir(folder)
    os.environ.update(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTHONPATH=str(folder))  # no plugins: they take time


def command(path: str) -> str:
    """What runs the tests of a module, in the order given: without --keep-duplicates pytest would drop the first ones."""
    options = ("-x", "-q", "-p", "no:cacheprovider", "--keep-duplicates", "-m", "not oracle")
    return shlex.join((sys.executable, "-m", "pytest", *options, *TESTS[path]))


def survives(mutant: Mutant, timeout: float) -> bool:
    """Whether every test passes with this change."""
    spec = MutationSpec(Path(mutant.path), mutant.operator, mutant.occurrence, (mutant.line, 0), (mutant.line, 1))
    result = mutate_and_test([spec], command(mutant.path), timeout)
    if result.worker_outcome != "normal":
        raise RuntimeError(f"{mutant}: {result.worker_outcome}: {result.output}")
    return not result.is_killed


def seconds(tests: str) -> float:
    """How long the tests take on the code as it is, where they must pass."""
    begin = time.monotonic()
    done = subprocess.run(shlex.split(tests), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the tests fail without any mutation:\n{done.stdout}{done.stderr}")
    return time.monotonic() - begin


def fingerprint(path: str) -> str:
    """Says whether a module is still what its result was measured on."""
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()[:12]


def report(rows: dict[str, Any], reasons: dict[tuple[str, ...], str]) -> str:
    """The result as Markdown: a row per module, and every survivor with its reason."""
    out = ["| module | mutants | killed | score |", "|---|---:|---:|---:|"]
    total = {key: sum(row[key] for row in rows.values()) for key in ("mutants", "killed")}
    for path, row in {**rows, "all": total}.items():
        since = " (changed since)" if "source" in row and row["source"] != fingerprint(path) else ""
        out.append(f"| {path}{since} | {row['mutants']:,} | {row['killed']:,} | {row['killed'] / row['mutants']:.1%} |")
    for path, row in rows.items():
        for line, before, after in row["survivors"]:
            why = reasons.get((path, before, after), "**not explained**")
            out += ["", f"`{path}:{line}`: {why}", "```diff", f"-{before}", f"+{after}", "```"]
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", choices=TESTS, default=list(TESTS), metavar="PATH")
    parser.add_argument("--survivors", action="store_true", help="only those of the last time, in modules unchanged since")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    rows: dict[str, Any] = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    reasons = {tuple(m): entry["why"] for entry in json.loads(EQUIVALENT.read_text("utf-8")) for m in entry["mutants"]}
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as parent,
        ProcessPoolExecutor(args.workers, initializer=copy_of_the_tree, initargs=(parent,)) as pool,
    ):
        for path in args.modules:
            all_of_it = mutants(path)
            again = args.survivors and rows.get(path, {}).get("source") == fingerprint(path)
            before = {tuple(s) for s in rows[path]["survivors"]} if again else set()
            tried = [m for m in all_of_it if not again or m.name in before]
            if not tried:
                continue
            timeout = 10 + 3 * pool.submit(seconds, command(path)).result()
            alive = pool.map(functools.partial(survives, timeout=timeout), tried)
            survivors = [m.name for m, lives in zip(tqdm(tried, desc=path, mininterval=10), alive, strict=True) if lives]
            killed = len(all_of_it) - len(survivors)
            rows[path] = {"source": fingerprint(path), "mutants": len(all_of_it), "killed": killed, "survivors": survivors}
            rows = {p: rows[p] for p in TESTS if p in rows}
            RESULT.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
            text, mark, _ = README.read_text("utf-8").partition("## Last result\n")
            README.write_text(f"{text}{mark}\n{report(rows, reasons)}", "utf-8")

    changed = [path for path, row in rows.items() if row["source"] != fingerprint(path)]
    if changed:
        print("changed since they were tried:", *changed)
    score = sum(row["killed"] for row in rows.values()) / sum(row["mutants"] for row in rows.values())
    unexplained = [(p, *s) for p, row in rows.items() for s in row["survivors"] if (p, *s[1:]) not in reasons]
    for survivor in unexplained:
        print("survives and is not explained:", *survivor, sep="\n    ")
    print(f"{score:.1%} of the mutants are killed")
    if unexplained or score < REQUIRED:
        sys.exit(1)


if __name__ == "__main__":
    main()
