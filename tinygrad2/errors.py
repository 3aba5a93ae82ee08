"""The one family of exceptions that tinygrad2 raises on purpose, and how its messages count."""

from numpy.linalg import LinAlgError


class TinygradError(Exception):
    """Anything tinygrad2 refuses to do; the message quotes the value and says the fix."""


class ShapeError(TinygradError, ValueError):
    """Shapes that do not fit together."""


class MatrixError(TinygradError, LinAlgError):
    """A matrix of which np.linalg cannot give what was asked: a singular one, one that is not square, NaN in it."""


def counted(n: int, what: str) -> str:
    """1 token, 2 tokens, 1,000 entries."""
    many = f"{what[:-1]}ies" if what.endswith("ry") else f"{what}s"
    return f"{n:,} {what if n == 1 else many}"


def refusal(error: Exception, message: str) -> TinygradError:
    """The error of the family that stands for one of NumPy's."""
    return (MatrixError if isinstance(error, LinAlgError) else ShapeError)(message)


class GraphError(TinygradError, RuntimeError):
    """A gradient that was asked for and cannot be had: freed graph, nothing recorded, unused input."""


class DtypeError(TinygradError, TypeError):
    """A dtype that cannot do what was asked, such as a gradient for integers."""


class ModuleError(TinygradError, TypeError):
    """A parameter or a module that is held where it has no name, or below itself."""


class UnsupportedError(TinygradError, TypeError):
    """A NumPy function or a keyword of one that has no differentiable rule here."""


class AnomalyError(TinygradError, ArithmeticError):
    """A NaN or an infinity, found by `autograd.detect_anomaly` at the op that made it."""
