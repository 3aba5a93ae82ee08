"""Is this normal? Verdicts on a run, computed from what it recorded: no model is needed, nor its text.

Rows are folded together as they come (`Summary`), and every rule is a function of that. It gives verdicts: `ok` and `info` are
said, `warning` and `error` want something done. The constants say where each limit comes from; "healthy runs" are those of
tests/gpt2/run/test_health.py.
"""

from gpt2.run.health.report import Monitor, examine, judge
from gpt2.run.health.summary import Summary
from gpt2.run.health.verdict import Verdict, Verdicts

__all__ = ["Monitor", "Summary", "Verdict", "Verdicts", "examine", "judge"]
