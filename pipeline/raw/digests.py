"""Digests of the contents of samples, without their folder: equal files in another folder give equal results."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence

from pipeline.core.fingerprint import short_digest
from pipeline.raw.samples import Sample


def sample_digest(sample: Sample, files: Iterable[str], digests: Mapping[str, str]) -> str:
    """Compute the digest of some of a sample's files and of its data from shared tables (SHA-256, hexadecimal).

    Parameters
    ----------
    sample : Sample
    files : iterable of str
        Paths, in a fixed order.
    digests : mapping of str to str
        Path to the SHA-256 of the file.
    """
    # os.path is ten times as fast as pathlib for 100,000 samples
    lines = [sample.id, *(f"{os.path.basename(path)} {digests[path]}" for path in files), sample.shared_data]  # noqa: PTH119
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def joint_digest(samples: Sequence[Sample], digests: Iterable[str]) -> str:
    """Compute one digest of the identifiers and digests of samples, in order."""
    pairs = zip(samples, digests, strict=True)
    return short_digest("\n".join(f"{sample.id} {digest}" for sample, digest in pairs))
