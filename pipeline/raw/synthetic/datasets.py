"""The synthetic data: small data sets, drawn by chance from a seed, in the exact formats of the real ones."""

from pathlib import Path

from pipeline.core.errors import OutputError, Problem
from pipeline.core.files import atomic_folder
from pipeline.core.progress import log
from pipeline.raw.samples import MARKER
from pipeline.raw.synthetic.drive import draw_drive
from pipeline.raw.synthetic.duts import draw_duts
from pipeline.raw.synthetic.shapes import draw_shapes
from pipeline.raw.synthetic.tgs import draw_tgs

_NOTE = """These images were drawn by a program (python -m pipeline synthetic). They have the file formats of the real
data set and look like it from afar; a score on them says nothing about the real one.
"""


def write_datasets(folder: Path) -> None:
    """Draw the sample data sets ``DRIVE``, ``TGS``, ``Shapes`` and ``DUTS`` into `folder`.

    The same files come out every time. A data set written before is replaced.

    Raises
    ------
    OutputError
        If something stands there that this function did not draw, or the folder cannot be written.
    """
    targets = {"DRIVE": draw_drive, "TGS": draw_tgs, "Shapes": draw_shapes, "DUTS": draw_duts}
    foreign = [
        folder / name
        for name in targets
        if (folder / name).exists() and not (folder / name / MARKER).is_file() and any((folder / name).iterdir())
    ]
    if foreign:
        raise OutputError(
            [
                Problem(
                    str(path),
                    "a folder that is not a synthetic data set",
                    "an empty place",
                    "name another folder with --output, or move this one away",
                )
                for path in foreign
            ]
        )
    for name, draw in targets.items():
        with atomic_folder(folder / name) as temporary:
            (temporary / MARKER).write_text(_NOTE, encoding="utf-8")
            draw(temporary)
        files = [path for path in (folder / name).rglob("*") if path.is_file()]
        log(f"{folder / name}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
