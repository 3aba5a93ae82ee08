"""`python -m tinygrad2.study.course.child PACKAGE KEY FOLDER SEED SECONDS BYTES RESULT`: one check, in a process of its own."""

from __future__ import annotations

import faulthandler
import json
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """Write the verdict as JSON to RESULT; where time is up, the stack to RESULT.stack, and end."""
    package, key, folder, seed, seconds, limit, result = argv
    _limit_memory(int(limit))
    with open(f"{result}.stack", "w") as stack:
        from tinygrad2.study.course.exercise import exercise
        from tinygrad2.study.course.judging import judged

        one = exercise(package, key)
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=stack)
        found = judged(one, Path(folder), int(seed))
        faulthandler.cancel_dump_traceback_later()
    Path(result).write_text(json.dumps(found.as_dict()), "utf-8")
    return 0


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
