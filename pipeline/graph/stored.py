"""What results say of themselves: by what they were made."""

import json
from collections.abc import Iterable
from pathlib import Path

from pipeline.core import paths
from pipeline.core.errors import OriginError
from pipeline.core.fingerprint import (
    FILE,
    EarlierVersionError,
    Fingerprint,
    canonical,
    earlier_version,
    mismatch,
    read_fingerprint,
)


def stored_fingerprint(path: Path) -> str | None:
    """Return the fingerprint that a result keeps, as text; None where there is none, or the file cannot be read.

    Parameters
    ----------
    path : Path
        A shard, a checkpoint, a JSON file, or a folder.
    """
    if path.suffix == ".h5":
        from pipeline.shards.read import read_fingerprint as read_shard

        return read_shard(path)
    if path.suffix == ".pt":
        from pipeline.training.checkpoint import read_fingerprint as read_checkpoint

        return read_checkpoint(path)
    if path.suffix == ".json":
        try:
            return canonical(json.loads(path.read_text(encoding="utf-8"))["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return read_fingerprint(path)


def require_origin(asked: Iterable[tuple[Path, Fingerprint]]) -> None:
    """Refuse results that other settings or other code made; of what is not there the stage itself complains.

    Parameters
    ----------
    asked : iterable of (Path, Fingerprint)
        Each file or folder, and what it has to be made by.

    Raises
    ------
    OriginError
        Listing every one with a fingerprint that differs, or without one.
    """
    compared = [mismatch(path, stored_fingerprint(path), made_by) for path, made_by in asked if path.exists()]
    if problems := [problem for problem in compared if problem is not None]:
        raise OriginError(problems)


def require_this_version(results: Path = paths.RESULTS) -> None:
    """Refuse a folder of results that an earlier version of the pipeline made: nothing in it would be used.

    Raises
    ------
    OriginError
    """
    signed = (f"metrics/*/{FILE}", "predictions/*/threshold.json", "shards/*/*.h5")
    for path in (path for pattern in signed for path in results.glob(pattern)):
        text = stored_fingerprint(path.parent if path.name == FILE else path)
        try:
            Fingerprint.from_json(text or "")
        except EarlierVersionError:
            raise OriginError(earlier_version(results)) from None
        except ValueError:
            continue
        return
