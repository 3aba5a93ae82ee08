"""The exercises of the course that end in a GPT-2: see `tinygrad2.study.course`."""
