"""gpt2 in a process that kills itself at the N-th moment of a kind: python dying.py KIND N ARGUMENTS...

KIND is `write` (with half of a file written), `fsync`, `rename` (before it), `renamed` (after it) or `unlink` (of a
checkpoint that is not needed any more).
"""

import os
import signal
import sys
from pathlib import Path

import tinygrad2.files
from gpt2.cli import main


def kill_at(kind, number):
    """Arrange for the end."""
    calls = dict.fromkeys(("write", "fsync", "rename", "renamed", "unlink"), 0)
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def reached(name):
        calls[name] += 1
        if (name, calls[name]) == (kind, number):
            os.kill(os.getpid(), signal.SIGKILL)

    def dying_fsync(descriptor):
        reached("fsync")
        fsync(descriptor)

    def dying_replace(source, target):
        reached("rename")
        replace(source, target)
        reached("renamed")

    def dying_unlink(path, missing_ok=False):
        if path.suffix == ".safetensors":
            reached("unlink")
        unlink(path, missing_ok)

    class HalfWriting:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            if (kind, number) == ("write", calls["write"] + 1):
                self.file.write(content[: len(content) // 2])
                self.file.flush()
            reached("write")
            self.file.write(content)

    os.fsync, os.replace, Path.unlink = dying_fsync, dying_replace, dying_unlink
    tinygrad2.files.open = lambda *args, **kwargs: HalfWriting(open(*args, **kwargs))  # noqa: SIM115


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
