"""Which pictures a folder holds, and what they are called."""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError

IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
"""Endings, in lower case, of the files that a folder is searched for."""


@dataclass(frozen=True)
class Picture:
    """A picture file and the name of what is made from it.

    Parameters
    ----------
    id : str
        Its path below the input folder, without ending, with ``-`` for ``/``.
    path : Path
    """

    id: str
    path: Path


def list_pictures(source: Path, output: Path | None = None) -> list[Picture]:
    """List a picture, or all pictures of a folder by their endings, sorted by identifier.

    Parameters
    ----------
    source : Path
    output : Path, optional
        A folder that is passed over: results inside the source are no pictures to predict.

    Raises
    ------
    RawDataError
        If there is none, or if several have one identifier.
    """
    if source.is_file():
        return [Picture(_name(Path(source.name)), source)]
    found = []
    own = None if output is None else output.resolve()
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".") and (Path(folder) / name).resolve() != own]
        for name in files:
            if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith("."):
                path = Path(folder) / name
                found.append(Picture(_name(path.relative_to(source)), path))
    if not found:
        raise RawDataError(
            str(source),
            "no pictures" if source.is_dir() else "no such file or folder",
            f"a picture, or a folder of files that end in {', '.join(IMAGE_ENDINGS)}",
            "correct --input",
        )
    by_id: dict[str, list[str]] = {}
    for picture in found:
        by_id.setdefault(picture.id, []).append(str(picture.path))
    repeated = [
        Problem(
            ", ".join(sorted(paths)),
            f"{len(paths)} pictures with the identifier {name!r}",
            "one picture for each identifier (path without ending, '-' for '/')",
            "rename all but one, or predict them into another folder",
        )
        for name, paths in sorted(by_id.items())
        if len(paths) > 1
    ]
    if repeated:
        raise RawDataError(repeated)
    return sorted(found, key=lambda picture: picture.id)


def _name(relative: Path) -> str:
    text = relative.with_suffix("").as_posix().replace("/", "-")
    # tables and messages are UTF-8, names of files need not be
    return os.fsencode(text).decode("utf-8", "backslashreplace")
