"""What `study.explain` is made of: rules as text, the program as data, and its two forms on paper."""
