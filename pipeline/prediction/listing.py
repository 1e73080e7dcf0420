"""Which images a folder holds, and what they are called."""

import os
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import Problem, RawDataError

IMAGE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
"""Endings, in lower case, of the files that a folder is searched for."""


class ImageFile(NamedTuple):
    """An image file. The results made from it are named by `id`: its path below the folder, with ``-`` for ``/``."""

    id: str
    path: Path


def list_images(source: Path, output: Path | None = None) -> list[ImageFile]:
    """List an image, or all images of a folder by their endings, sorted by identifier.

    Parameters
    ----------
    source : Path
    output : Path, optional
        A folder that is passed over: results inside the source are no images to predict.

    Raises
    ------
    RawDataError
        If there is none, or if several have one identifier.
    """
    if source.is_file():
        return [ImageFile(_name(Path(source.name)), source)]
    own = None if output is None else output.resolve()
    by_id: dict[str, list[Path]] = {}
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".") and (Path(folder) / name).resolve() != own]
        for name in files:
            if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith("."):
                path = Path(folder) / name
                by_id.setdefault(_name(path.relative_to(source)), []).append(path)
    if not by_id:
        raise RawDataError(
            str(source),
            "no images" if source.is_dir() else "no such file or folder",
            f"an image, or a folder of files that end in {', '.join(IMAGE_ENDINGS)}",
            "correct --input",
        )
    repeated = [
        Problem(
            ", ".join(sorted(map(str, paths))),
            f"{len(paths)} images with the identifier {name!r}",
            "one image for each identifier (path without ending, '-' for '/')",
            "rename all but one, or predict them into another folder",
        )
        for name, paths in sorted(by_id.items())
        if len(paths) > 1
    ]
    if repeated:
        raise RawDataError(repeated)
    return [ImageFile(name, path) for name, (path,) in sorted(by_id.items())]


def _name(relative: Path) -> str:
    text = relative.with_suffix("").as_posix().replace("/", "-")
    # tables and messages are UTF-8, names of files need not be
    return os.fsencode(text).decode("utf-8", "backslashreplace")
