"""Is this gradient right? Verdicts, from differences of the function itself."""

from tinygrad2.gradcheck.verdicts import GradcheckResult, gradcheck

__all__ = ["GradcheckResult", "gradcheck"]
