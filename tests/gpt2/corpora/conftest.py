"""What a data folder may hold that is no text file, and a user who may not read everything."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

SETPRIV = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.fixture
def odd(tmp_path):
    """A folder with one text, and one of everything that is no file."""
    folder = tmp_path / "odd"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "text.txt").write_text("a text")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.txt").write_text("through a link")
    os.mkfifo(folder / "pipe.txt")
    (folder / "folder.txt").mkdir()
    (folder / "device.txt").symlink_to("/dev/zero")
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (folder / "up").symlink_to(folder)
    (folder / "again").symlink_to(folder)
    (folder / "file.txt").symlink_to(tmp_path / "elsewhere" / "linked.txt")
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as listening:  # a socket's path must be short
        listening.bind("socket.txt")
    return folder


@pytest.fixture
def unprivileged():
    """Runs Python code in a process that may read only what its user may, also where that is root."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may read everything, and there is no setpriv")

    def run(code, *arguments):
        command = [*(SETPRIV if os.geteuid() == 0 else []), sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run
