"""Training: one step (step.py), the loop of them (loop.py), and what is measured, resumed and replayed of it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gpt2.training.loop import Result, train

__all__ = ["Result", "train"]


def __getattr__(name: str) -> object:
    """They load the loop when they are first used: it stands above all other files of this folder."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gpt2.training import loop

    return getattr(loop, name)
