"""Is this gradient right? Verdicts, from differences of the function itself."""

from tinygrad2.gradcheck.check import gradcheck
from tinygrad2.gradcheck.verdicts import GradcheckResult, InputCheck

__all__ = ["GradcheckResult", "InputCheck", "gradcheck"]
