"""A rank of the tests: `gpt2`, after what PLANT says has been done to it, and with its process id in a file."""

import os
import sys
from pathlib import Path

rank = int(os.environ.get("PMI_RANK", 0))
Path(os.environ["PIDS"], str(rank)).write_text(str(os.getpid()))
exec(os.environ.get("PLANT", ""))

from gpt2.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
