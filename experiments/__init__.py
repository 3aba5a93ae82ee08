"""Questions answered by measuring: one folder each, with how it was done and what came out."""
