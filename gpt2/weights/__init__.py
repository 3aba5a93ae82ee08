"""Weights in files: our own, and those of Hugging Face."""
