"""The one family of exceptions that gpt2 raises on purpose; the command line prints them in one line."""


class GPT2Error(Exception):
    """Anything gpt2 refuses to do; the message quotes the value and says the fix."""


class ConfigError(GPT2Error, ValueError):
    """A setting with a value it cannot have."""


class DataError(GPT2Error, ValueError):
    """Text that cannot be trained on, encoded or decoded."""


class StrangeCharacterError(DataError):
    """Text with characters for which a tokenizer has no tokens."""


class RunError(GPT2Error):
    """A run folder that is not there, not complete, or cannot be written."""


class NonFiniteError(GPT2Error):
    """A loss, a gradient or logits that are no longer numbers."""


class DamagedError(RunError):
    """A file that could be read, and does not hold what was written."""
