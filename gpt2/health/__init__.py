"""Is this normal? Verdicts on a run, computed from what it recorded: no model is needed, nor its text.

Every rule is a function of what was seen of the run. It gives verdicts: `ok` and `info` are said, `warning` and `error` want
something done. The constants say where each limit comes from; "healthy runs" are those of tests/gpt2/test_health.py.
"""

from gpt2.health.report import Watch, examine
from gpt2.health.seen import Facts
from gpt2.health.verdict import Verdict

__all__ = ["Facts", "Verdict", "Watch", "examine"]
