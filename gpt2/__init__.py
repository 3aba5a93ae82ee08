"""gpt2: a GPT-2 built by hand on tinygrad2, trained, checked and read."""

TYPE_CHECKING = False  # as in typing, which would take longer to load than all of this

if TYPE_CHECKING:
    from gpt2.config import GPT2Config, TrainConfig
    from gpt2.model import GPT2
    from gpt2.trained import Trained, load, train
    from tinygrad2 import __version__ as __version__

__all__ = ["GPT2", "GPT2Config", "TrainConfig", "Trained", "load", "train"]


def __getattr__(name: str) -> object:
    """Names load what they need when they are first used, so that the command can take care of Ctrl-C before anything else."""
    if name == "__version__":
        import tinygrad2

        return tinygrad2.__version__
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gpt2 import config, model

    if name in ("Trained", "load", "train"):
        from gpt2 import trained

        return getattr(trained, name)
    return getattr(model if name == "GPT2" else config, name)
