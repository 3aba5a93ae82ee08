"""The check of each exercise."""
