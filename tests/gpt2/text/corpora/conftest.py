"""What a data folder may hold that is no text file."""

import contextlib
import os
import socket

import pytest


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
