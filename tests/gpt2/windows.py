"""Runs code in a process without what Windows lacks: python windows.py CODE.

Of the modules and functions that Windows does not have, those that this project could come to use are taken away; `msvcrt` is a
stand-in, and `os.open` fails where it would open a file that exists in text mode. What else differs there, such as paths,
`os.name`, and that no open file can be removed, is not tested.
"""

import concurrent.futures
import fcntl
import os
import select
import signal
import stat
import subprocess  # which takes a system that has msvcrt for Windows
import sys
import tempfile
import types
import urllib.request

import matplotlib.pyplot as plt
import msgspec
import numpy as np
import safetensors.numpy
import threadpoolctl
import tqdm

# What these do on Windows is their business: they are loaded before anything is taken away.
LOADED = (concurrent.futures, subprocess, tempfile, urllib.request, plt, msgspec, np, safetensors.numpy, threadpoolctl, tqdm)

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix")
FUNCTIONS = {
    os: "O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_CLOEXEC pread pwrite sched_getaffinity register_at_fork getuid geteuid getgid "
    "getegid fork forkpty killpg getpgid getpgrp setsid uname sysconf getloadavg mkfifo fchmod chown fchown openpty",
    signal: "SIGHUP SIGKILL SIGQUIT SIGALRM SIGUSR1 SIGUSR2 SIGPIPE SIGWINCH alarm setitimer pause sigwait pthread_sigmask",
    select: "poll epoll",
}
LOCKED: list[tuple[int, int]] = []
"""Each place that was locked, and the size of the file then."""


def locking(descriptor, mode, count):
    """As msvcrt's: from where the file stands, refused with PermissionError where somebody else holds it."""
    assert (mode, count) == (2, 1)
    LOCKED.append((os.lseek(descriptor, 0, os.SEEK_CUR), os.fstat(descriptor).st_size))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


def pretend():
    """Take it all away from this process."""
    opened, text = os.open, 1 << 40

    def open_as_there(path, flags, mode=0o777, *, dir_fd=None):
        if os.path.exists(path) and stat.S_ISREG(os.stat(path).st_mode):
            assert flags & text, f"{path} is opened in text mode"
        return opened(path, flags & ~text, mode, dir_fd=dir_fd)

    os.open, os.O_BINARY = open_as_there, text
    for module, names in FUNCTIONS.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    sys.modules.update(dict.fromkeys(MODULES))
    msvcrt = types.ModuleType("msvcrt")
    msvcrt.locking, msvcrt.LK_NBLCK = locking, 2
    sys.modules["msvcrt"] = msvcrt


if __name__ == "__main__":
    pretend()
    exec(sys.argv[1], {"LOCKED": LOCKED})
