"""Training: one step, the loop of them, and what is measured, resumed and replayed of it."""
