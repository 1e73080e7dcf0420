"""Names of the splits of a data set."""

TRAIN, VALIDATION, TEST, UNLABELLED = "train", "validation", "test", "unlabelled"
SPLITS = (TRAIN, VALIDATION, TEST, UNLABELLED)

OUT_OF_FOLD = "out-of-fold"
"""Training and validation samples together, where each is predicted by networks that have not seen it. It has no shards
of its own."""
