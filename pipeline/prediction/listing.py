"""List the images of a folder and their identifiers."""

from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import Problem, RawDataError, join_first
from pipeline.core.files import exists, is_folder, name_bytes, real_path
from pipeline.core.folders import walk
from pipeline.raw.decode.unsupported import conversion_remedy
from pipeline.raw.samples import IMAGE_EXTENSIONS, unfit_identifiers

_RENAME = "rename the file"


class ImageFile(NamedTuple):
    """An image file. `id` names its results: the path below the folder without extension, ``-`` in place of ``/``."""

    id: str
    path: Path


def list_images(source: Path, output: Path | None = None) -> list[ImageFile]:
    """List one image, or all images below a folder by their extensions, sorted by identifier.

    Links to folders are followed, except those to a folder that they lie in.

    Parameters
    ----------
    source : Path
    output : Path, optional
        A folder that is skipped, because earlier results inside the source are not images to predict.

    Raises
    ------
    RawDataError
        If there is no image, a folder cannot be listed, or several images have the same identifier.
    """
    if exists(source) and source.is_file():
        name = _identifier(Path(source.name))
        if problems := list(unfit_identifiers([(name, str(source))], _RENAME)):
            raise RawDataError(problems)
        return [ImageFile(name, source)]
    skipped = None if output is None else real_path(output)
    by_id: dict[str, list[Path]] = {}
    names_in_source: list[str] = []
    unlisted: list[Problem] = []

    def report(error: OSError) -> None:
        found = error.strerror or str(error)
        unlisted.append(Problem(str(error.filename), found, "a folder that can be listed", "check its permissions"))

    for folder, folders, files in walk(source, report):
        folders[:] = [
            name for name in folders if not name.startswith(".") and real_path(Path(folder) / name) != skipped
        ]
        names_in_source += files
        for name in files:
            if name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith("."):
                path = Path(folder) / name
                by_id.setdefault(_identifier(path.relative_to(source)), []).append(path)
    if unlisted and exists(source):
        raise RawDataError(unlisted)
    if not by_id:
        raise RawDataError(
            str(source),
            "no images" if is_folder(source) else "no such file or folder",
            f"an image, or a folder of files that end in {', '.join(IMAGE_EXTENSIONS)}",
            conversion_remedy(names_in_source) or "correct --input",
        )
    problems = [
        Problem(
            join_first(map(str, paths)),
            f"{len(paths)} images with the identifier {name!r}",
            "one image for each identifier (the path without extension, '-' in place of '/')",
            "rename all but one, or predict them into another folder",
        )
        for name, paths in sorted(by_id.items())
        if len(paths) > 1
    ]
    problems += unfit_identifiers(((name, str(paths[0])) for name, paths in sorted(by_id.items())), _RENAME)
    if problems:
        raise RawDataError(problems)
    return [ImageFile(name, path) for name, (path,) in sorted(by_id.items())]


def _identifier(relative: Path) -> str:
    text = relative.with_suffix("").as_posix().replace("/", "-")
    # file names may contain bytes that are not UTF-8, which tables and messages cannot contain
    return name_bytes(text).decode("utf-8", "backslashreplace")
