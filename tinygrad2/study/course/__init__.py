"""Build it yourself: exercises from a slope to a GPT-2 on one's own engine, and a check that knows which mistake was made.

`exercises/` has the solutions, with marked holes, `checks/` what is computed with them; `gpt2 learn` is the door.
"""
