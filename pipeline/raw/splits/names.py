"""Names of the splits of a data set."""

import re

TRAIN, VALIDATION, TEST, UNLABELLED = "train", "validation", "test", "unlabelled"
SPLITS = (TRAIN, VALIDATION, TEST, UNLABELLED)

OUT_OF_FOLD = "out-of-fold"
"""Training and validation samples together, each predicted by networks that were not trained on it; without shards of
its own."""

_WORDS = {
    TRAIN: ("train", "training", "trn", "trainval"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing", "tst"),
    UNLABELLED: ("unlabelled", "unlabeled"),
}
_SPLIT_BY_WORD = {word: split for split, words in _WORDS.items() for word in words}


def named_split(text: str) -> str | None:
    """Return the split that a text names, in the words of lists and tables such as ``Training set``, or None."""
    word = re.sub(r"^(is)?[\W_]+|[\W_]+$", "", text.casefold())
    return _SPLIT_BY_WORD.get(re.sub(r"[\s_-]*(set|split|data|samples?)$", "", word))
