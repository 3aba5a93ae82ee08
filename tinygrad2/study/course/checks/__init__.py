"""The check of each exercise: what is computed, the reference, and the mistakes that are known."""
