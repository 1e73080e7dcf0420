"""Names of the splits of a data set."""

TRAIN, VALIDATION, TEST, UNLABELLED = "train", "validation", "test", "unlabelled"
SPLITS = (TRAIN, VALIDATION, TEST, UNLABELLED)

OUT_OF_FOLD = "out-of-fold"
"""Training and validation samples together, each predicted by networks that were not trained on it; without shards of
its own."""
