"""Seeds of a training run, in their own module so that sampling code does not depend on the training loop."""

from pipeline.raw.splits.sampling import stable_hash


def derive_seed(seed: int, purpose: str) -> int:
    """Derive an independent seed for a purpose."""
    return stable_hash(seed, purpose) >> 1


def derived_seeds(seed: int) -> dict[str, int]:
    """Return the seeds of the initial weights, the order of the samples and the augmentation."""
    return {purpose: derive_seed(seed, purpose) for purpose in ("weights", "order", "augmentation")}
