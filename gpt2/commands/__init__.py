"""The commands, one file each: `HELP`, its `arguments`, and `run`, which returns the exit code."""
