"""From raw rows to medians and ratios, and from these to the tables of README.md and the docs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.speed.contenders import CONTENDERS, DISTURBED, WORKLOADS, Row

START, END = "<!-- table: written by experiments/speed/run.py -->", "<!-- end of table -->"


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file; none where there is no file. A last line that was cut off is left out."""
    if not path.exists():
        return []
    whole = path.read_text("utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line]


def rounds_of(rows: Iterable[Row], workload: str) -> list[dict[str, Row]]:
    """The complete rounds of a workload: by contender, one row each. A round that was interrupted is left out."""
    found: dict[int, dict[str, Row]] = {}
    for row in rows:
        if row.get("workload") == workload:
            found.setdefault(row["round"], {})[row["contender"]] = row
    return [by for by in found.values() if len(by) == next(iter(by.values()))["of"]]


def undisturbed(rounds: Iterable[dict[str, Row]]) -> list[dict[str, Row]]:
    """Those rounds in which nothing else kept the machine busy while a contender ran."""
    return [by for by in rounds if all(row["others"] <= DISTURBED for row in by.values() if "found" in row)]


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """All medians and ratios, as in result.json. Disturbed rounds count only where a workload has no other."""
    sessions = [row["session"] for row in rows if "session" in row]
    measured = dict.fromkeys((row["study"], row["workload"]) for row in rows if "workload" in row)
    order = list(WORKLOADS)
    result: dict[str, Any] = {
        "commands": list(dict.fromkeys(session["command"] for session in sessions)),
        "machine": sessions[-1]["machine"] if sessions else {},
        "workloads": {},
        "scaling": {},
    }
    for study, name in sorted(measured, key=lambda pair: order.index(pair[1]) if pair[1] in order else len(order)):
        every = rounds_of(rows, name)
        quiet = undisturbed(every)
        if every:
            result[study][name] = {**_workload(quiet or every), "disturbed": len(every) - len(quiet)}
    return result


def _workload(rounds: list[dict[str, Row]]) -> dict[str, Any]:
    """One workload: what each contender did, and the ratios between them.

    `speed` is over the best PyTorch of the same type, `relative` over the best in float32.
    """
    first = next(iter(rounds[0].values()))
    names = sorted(rounds[0], key=list(CONTENDERS).index)
    contenders = {name: _contender([by[name] for by in rounds]) for name in names}
    compared = [name for name in names if not CONTENDERS[name].peer]
    return {
        "shape": first["shape"],
        "threads": first["threads"],
        "rounds": len(rounds),
        "others": max((row["others"] for by in rounds for row in by.values() if "found" in row), default=0.0),
        "contenders": contenders,
        "speed": {name: _speed(rounds, name, CONTENDERS[name].dtype) for name in compared},
        "memory": {name: _memory(contenders, name) for name in compared},
        "relative": {name: _speed(rounds, name, "float32") for name in names},
    }


def _contender(rows: list[Row]) -> dict[str, Any]:
    """Medians over the rounds of every number; the fastest step of all; what ran; and failures."""
    found = [row["found"] for row in rows if "found" in row]
    errors = [row["error"] for row in rows if "error" in row]
    result: dict[str, Any] = {"command": rows[-1]["command"], "failed": len(errors), "error": errors[-1] if errors else None}
    for key, value in found[-1].items() if found else ():
        values = [one[key] for one in found if one.get(key) is not None]
        if isinstance(value, int | float):
            result[key] = min(values) if key == "min_ms" else round(statistics.median(values), 4)
        elif isinstance(value, dict):
            result[key] = {name: round(statistics.median(one[name] for one in values), 4) for name in value}
        else:
            result[key] = ", ".join(dict.fromkeys(values)) or None
    with_libraries = [one for one in found if one.get("libraries")]
    shares = [one["matrix_gflops"] / one["threads"] / max(one["libraries"].values()) for one in with_libraries]
    return {**result, "over_library": round(statistics.median(shares), 3)} if shares else result


def _best(by: Mapping[str, Row], dtype: str) -> str | None:
    """The fastest PyTorch of a type in a round; None where none ran."""
    peers = [n for n, row in by.items() if "found" in row and CONTENDERS[n].peer and CONTENDERS[n].dtype == dtype]
    return max(peers, key=lambda n: by[n]["found"]["tokens_per_s"], default=None)


def _speed(rounds: list[dict[str, Row]], name: str, dtype: str) -> dict[str, Any] | None:
    """Tokens per second over those of the best PyTorch of this type in the same round; None where no round has both."""
    ratios, against = [], []
    for by in rounds:
        best = _best(by, dtype)
        if best and "found" in by[name]:
            ratios.append(by[name]["found"]["tokens_per_s"] / by[best]["found"]["tokens_per_s"])
            against.append(best)
    if not ratios:
        return None
    low, middle, high = (round(ratio, 3) for ratio in (min(ratios), statistics.median(ratios), max(ratios)))
    return {"median": middle, "min": low, "max": high, "against": {peer: against.count(peer) for peer in sorted(set(against))}}


def _memory(contenders: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    """Peak memory over that of the PyTorch that is the fastest of this type over all rounds."""
    as_rows = {peer: {"found": found} for peer, found in contenders.items() if "tokens_per_s" in found}
    best = _best(as_rows, CONTENDERS[name].dtype)
    if best is None or name not in as_rows:
        return None
    return {"ratio": round(contenders[name]["peak_mb"] / contenders[best]["peak_mb"], 3), "against": best}


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of README.md: of every machine, by the name of its folder, the ratios, what is behind them, and what failed."""
    return _sections(_section(result, f"machines/{folder}") for folder, result in results.items() if _measured(result))


def ratios(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of the docs: of every machine the ratios alone."""
    return _sections(f"{_machine(r)}\n\n{_ratios(r['workloads'])}" for r in results.values() if r["workloads"])


def _sections(texts: Iterable[str]) -> str:
    return ("\n\n".join(texts) or "No result yet: `python -m experiments.speed.run` fills this in.") + "\n"


def _measured(result: Mapping[str, Any]) -> dict[str, Any]:
    return {**result["workloads"], **result["scaling"]}


def _section(result: Mapping[str, Any], folder: str) -> str:
    """What was found on one machine. Every number comes from `result`."""
    workloads, scaling = result["workloads"], result["scaling"]
    parts = [_machine(result), "```sh\n" + "\n".join(result["commands"]) + "\n```"]
    if workloads:
        picture = f"![Tokens per second over the best PyTorch in float32]({folder}/figure.png)"
        parts += [_ratios(workloads), picture, _steps(workloads, result["machine"]), _ran(workloads)]
    if scaling:
        parts += [_scaling(scaling), f"![Tokens per second by context, batch size and threads]({folder}/scaling.png)"]
    parts.append(_failures(_measured(result)))
    return "\n\n".join(part for part in parts if part)


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table whose first columns are of words, the others of numbers."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return f"### {machine['cpu']}, {machine['cores']} cores\n\nIt has {', '.join(machine['flags']) or 'no AVX2'}; {versions}."


def _ratios(workloads: Mapping[str, Any]) -> str:
    over_peer = ("tokens/s over PyTorch's", "lowest to highest", "memory over PyTorch's")
    over_matrix = ("model FLOPs over matrix rate", "matrix rate over the best library's")
    rows = []
    for name, workload in workloads.items():
        for one, speed in workload["speed"].items():
            found, memory = workload["contenders"][one], workload["memory"][one]
            ratio = (f"**{speed['median']:.2f}**", f"{speed['min']:.2f} to {speed['max']:.2f}") if speed else ("–", "–")
            cells = (*ratio, f"{memory['ratio']:.2f}" if memory else "–", _mfu(found), _over_library(found))
            rows.append((name, one, _cell(found, "tokens_per_s", ",.0f"), *cells))
    return _grid(("workload", "contender", "tokens/s", *over_peer, *over_matrix), rows, words=2)


def _mfu(found: Mapping[str, Any]) -> str:
    """How much of what its own matrix products can do a step reaches."""
    if found.get("mfu") is None or found.get("matrix_gflops") is None:
        return "–"
    return f"{found['mfu']:.0%} of {found['matrix_gflops']:,.0f} GFLOP/s"


def _over_library(found: Mapping[str, Any]) -> str:
    """How fast large products are, for each thread, beside the fastest library on one thread; and which that is."""
    if "over_library" not in found:
        return "–"
    return f"{found['over_library']:.2f} ({max(found['libraries'], key=found['libraries'].get)})"


def _cell(found: Mapping[str, Any], key: str, form: str) -> str:
    """A number, marked where some rounds failed."""
    if key not in found:
        return "failed"
    return format(found[key], form) + (f" ({found['failed']} failed)" if found["failed"] else "")


def _steps(workloads: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    def cell(name: str, workload: Mapping[str, Any], key: str, form: str) -> str:
        if name in workload["contenders"]:
            return _cell(workload["contenders"][name], key, form)
        return CONTENDERS[name].missing(machine) or "not measured"

    def of_all(key: str, form: str) -> list[tuple[str, ...]]:
        return [(name, *(cell(name, w, key, form) for w in workloads.values())) for name in CONTENDERS]

    rounds = ("rounds", *(str(workload["rounds"]) for workload in workloads.values()))
    disturbed = ("rounds disturbed", *(str(workload["disturbed"]) for workload in workloads.values()))
    others = ("busy with others, at most", *(f"{workload['others']:.0%}" for workload in workloads.values()))
    steps = _grid(("median step, ms", *workloads), [*of_all("step_ms", ",.1f"), rounds, disturbed, others])
    return steps + "\n\n" + _grid(("peak memory, MiB", *workloads), of_all("peak_mb", ",.0f"))


def _ran(workloads: Mapping[str, Any]) -> str:
    """What our contenders said they computed with."""
    lines = []
    for name in CONTENDERS:
        said = [w["contenders"][name] for w in workloads.values() if name in w["contenders"] and CONTENDERS[name].ours]
        words = [", ".join(f"{key} {one[key]}" for key in ("kernels", "products", "unit") if one.get(key)) for one in said]
        if any(words):
            lines.append(f"- {name}: {'; '.join(dict.fromkeys(filter(None, words)))}")
    return "What ran:\n\n" + "\n".join(lines) if lines else ""


def _scaling(points: Mapping[str, Any]) -> str:
    names = list(next(iter(points.values()))["contenders"])
    head = ("tokens/s", *names, "fast over PyTorch's", "lowest to highest")
    rows = []
    for name, point in points.items():
        speed = point["speed"].get("ours, fast")
        ratio = (f"{speed['median']:.2f}", f"{speed['min']:.2f} to {speed['max']:.2f}") if speed else ("–", "–")
        rows.append((name, *(_cell(point["contenders"][n], "tokens_per_s", ",.0f") for n in names), *ratio))
    return _grid(head, rows)


def _failures(points: Mapping[str, Any]) -> str:
    lines = [
        f"- {name}, {contender}: {found['failed']} of {point['rounds']} failed: `{found['error']}`"
        for name, point in points.items()
        for contender, found in point["contenders"].items()
        if found["failed"]
    ]
    return "Failed:\n\n" + "\n".join(lines) if lines else ""


def with_table(page: str, text: str) -> str:
    """A page with this text between its two marks."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{text}{END}{after}"
