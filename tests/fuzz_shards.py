"""Damage shards at random and check that reading refuses them with the name of the file, or gives the same contents.

    python tests/fuzz_shards.py --inputs 5000 --seed 1

HDF5 may crash or hang, so inputs are read in a monitored child process.
"""

import io
import sys
import tempfile
from contextlib import redirect_stderr
from functools import cache, partial
from pathlib import Path

from fuzz_decode import main as run
from rawfiles import make_drive, make_tgs
from sources import preparation, source

from pipeline.core.errors import ShardError
from pipeline.shards.read import ShardReader
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard

SETTINGS = {
    "float16": ("drive", "train", {}),
    "uint8": ("drive", "test", {"storage": "uint8"}),
    "grey": ("tgs", "train", {"storage": "float32", "channels": "grey"}),
    "unlabelled": ("tgs", "unlabelled", {}),
}


@cache
def make_files() -> dict[str, bytes]:
    """Return small shards of every storage type, with and without masks and metadata."""
    files = {}
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        roots = {"drive": make_drive(Path(folder) / "DRIVE"), "tgs": make_tgs(Path(folder) / "TGS")}
        for name, (layout, split, changes) in SETTINGS.items():
            settings = preparation(**{"size": [32, 40], "storage": "float16", **changes})
            recipe = settings.to(ShardRecipe, dataset="d", split=split, source=source(layout, roots[layout]))
            if layout == "drive":
                recipe = recipe.changed(source=source(layout, roots[layout], test="official"))
            path = Path(folder) / f"{name}.h5"
            build_shard(recipe, number=0, output=path)
            files[path.name] = path.read_bytes()
    return files


def contents(path: Path) -> list[object]:
    """Read everything that a shard gives its readers."""
    with ShardReader([path]) as reader:
        arrays = [name for name, there in (("masks", reader.has_masks), ("fov", reader.has_fov)) if there]
        columns = [reader.column(name) for name in ("ids", "scale", "offset", "original_size", "source_sha256")]
        planes = [reader.read_all(name) for name in ("images", *arrays)]
        return [reader.info, reader.image_values(), list(reader.source_digests().values()), *columns, *planes]


def equal(first: list[object], second: list[object]) -> bool:
    """Compare the results of `contents`, arrays with their types and bits."""

    def plain(value):
        return (value.dtype.str, value.shape, value.tobytes()) if getattr(value, "dtype", "O") != "O" else str(value)

    return list(map(plain, first)) == list(map(plain, second))


@cache
def _original_contents(folder: Path, original: bytes) -> list[object]:
    (folder / "original.h5").write_bytes(original)
    return contents(folder / "original.h5")


def judge(folder: Path, original: bytes, name: str, kind: str, data: bytes) -> str:
    """Read one input; return ``refused`` or ``same`` contents, or the violation of a rule."""
    path = folder / f"{kind}-{name}"
    path.write_bytes(data)
    try:
        values = contents(path)
    except ShardError as error:
        return "refused" if str(path) in str(error) else "violation: the error does not name the file"
    except BaseException as error:
        return f"violation: {type(error).__name__}"
    return (
        "same" if equal(values, _original_contents(folder, original)) else "violation: changed contents were accepted"
    )


def main(argv=None) -> int:
    with tempfile.TemporaryDirectory() as folder:
        script = {"description": __doc__, "script": __file__, "make_files": make_files}
        return run(argv, **script, judge=partial(judge, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
