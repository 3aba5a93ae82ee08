"""`python -m experiments 05`: answer a question by running it; `python -m experiments` lists them; `all` runs them all."""

from __future__ import annotations

import argparse
import sys
import time

from experiments.harness import Experiment, experiments


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 where a finding does not hold, 2 for a number that there is not."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Questions, answered by running them.")
    parser.add_argument("numbers", nargs="*", help="which: 01, 02, ... or all; none lists them")
    parser.add_argument("--quick", action="store_true", help="a small form, in seconds; writes nothing")
    parser.add_argument(
        "--control", action="store_true", help="with the cause taken away: the finding must fail; writes nothing"
    )
    args = parser.parse_args(argv)
    known = {experiment.number: experiment for experiment in experiments()}
    if not args.numbers:
        for experiment in known.values():
            print(f"{experiment.number}  {experiment.question}")
        return 0
    chosen = list(known) if args.numbers == ["all"] else [number.zfill(2) for number in args.numbers]
    unknown = [number for number in chosen if number not in known]
    if unknown:
        print(
            f"python -m experiments: error: there is no experiment {unknown[0]!r}; there are {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    return 1 if [number for number in chosen if not _run(known[number], args.quick, args.control)] else 0


def _run(experiment: Experiment, quick: bool, control: bool) -> bool:
    """Whether all claims hold; of a control, whether one does not."""
    start = time.perf_counter()
    print(f"{experiment.number}  {experiment.question}" + ("  (control: the cause is taken away)" if control else ""))
    result = experiment.measure(quick or control, control)
    claims = experiment.claims(result)
    for claim in claims:
        print(f"    {'holds' if claim.holds else 'FAILS'}: {claim.text}")
    if not (quick or control):
        experiment.write(result)
    print(f"    {time.perf_counter() - start:.0f} s")
    holds = all(claim.holds for claim in claims)
    return not holds if control else holds


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
