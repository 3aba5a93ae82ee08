"""From files to batches: corpora, their ids, and what a model that learns nothing would lose on them."""
