"""Seeds of a training; apart from its loop, so that what only draws samples does not depend on how they are learned."""

from pipeline.raw.splits.sampling import stable_hash


def derive_seed(seed: int, purpose: str) -> int:
    """Make independent seeds for independent purposes."""
    return stable_hash(seed, purpose) >> 1


def derived_seeds(seed: int) -> dict[str, int]:
    """Return what one seed means for first weights, order of the samples and augmentation."""
    return {purpose: derive_seed(seed, purpose) for purpose in ("weights", "order", "augmentation")}
