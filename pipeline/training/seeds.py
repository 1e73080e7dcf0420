"""Seeds of a training; apart from its loop, so that what only draws samples does not depend on how they are learned."""

from pipeline.raw.draws import stable_hash


def derive_seed(seed: int, purpose: str) -> int:
    """Make independent seeds for independent purposes."""
    return stable_hash(seed, purpose) >> 1
