"""Write the synthetic data sets: small, generated from a seed, in the exact formats of the real ones."""

from pathlib import Path

from pipeline.core.errors import OutputError, Problem, plural
from pipeline.core.files import atomic_folder, exists, is_folder, names_in
from pipeline.core.progress import log
from pipeline.raw.samples import SYNTHETIC_MARKER
from pipeline.raw.synthetic.drive import write_drive
from pipeline.raw.synthetic.duts import write_duts
from pipeline.raw.synthetic.shapes import write_shapes
from pipeline.raw.synthetic.tgs import write_tgs

_NOTE = """These images were made by a program (python -m pipeline synthetic). Their file formats are those of the real
data set, but their contents are not. Scores on them say nothing about scores on the real data set.
"""


def write_datasets(folder: Path) -> None:
    """Write the synthetic data sets ``DRIVE``, ``TGS``, ``Shapes`` and ``DUTS`` into `folder`.

    The files are the same every time. Existing synthetic data sets are replaced.

    Raises
    ------
    OutputError
        If a folder of a data set contains other files, or the folder cannot be written.
    """
    writers = {"DRIVE": write_drive, "TGS": write_tgs, "Shapes": write_shapes, "DUTS": write_duts}
    occupied = [
        path
        for path in (folder / name for name in writers)
        if (names_in(path) and not exists(path / SYNTHETIC_MARKER)) or (exists(path) and not is_folder(path))
    ]
    if occupied:
        raise OutputError(
            [
                Problem(
                    str(path),
                    "a file, or a folder that is not a synthetic data set",
                    "an empty or missing folder",
                    "choose another folder with --output, or move this one away",
                )
                for path in occupied
            ]
        )
    for name, write in writers.items():
        with atomic_folder(folder / name) as temporary:
            (temporary / SYNTHETIC_MARKER).write_text(_NOTE, encoding="utf-8")
            write(temporary)
        files = [path for path in (folder / name).rglob("*") if path.is_file()]
        log(f"{folder / name}: {plural(len(files), 'file')}, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
