"""Find tiles of one larger image by borders that continue each other, so that no split separates them.

The border of a tile is extrapolated half a pixel outwards, to where two neighbours meet. Of two borders, distance is
1 - Pearson's correlation, after a moving mean along the border is subtracted: tiles differ in brightness and contrast.
Two tiles are linked if each is the nearest of the other, and clearly nearer than the second nearest of both. That is
the ratio test by which matches of image features are accepted (Lowe, Int J Comput Vis 60 (2004) 91, section 7.1).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.core.errors import Problem, RawDataError, join_first
from pipeline.core.files import visible_paths
from pipeline.core.progress import log
from pipeline.core.tables import write_table
from pipeline.images.png import write_png
from pipeline.raw.decode.image import read_image

MAX_RATIO = 0.4
"""Largest ratio of the distance of two linked borders to that of the second nearest border."""

MAX_DISTANCE = 0.3
"""Largest distance of two linked borders."""

MIN_CONTRAST = 3.0
"""Smallest standard deviation of a border, on the scale of 0 to 255: constant borders fit everywhere."""

_WINDOW = 17  # pixels of the moving mean
_BLOCK = 1024  # borders that are compared with all others at a time
_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".bmp")
_SHOWN, _ROW = 48, 12  # pairs of a sheet for each direction; tiles in one row
_GAP = 6  # pixels between pairs

Images = NDArray[np.float32]
Links = NDArray[np.int64]

DIRECTIONS = {"left to right": 2, "top to bottom": 1}
"""Direction of a link from its first to its second tile, and the axis of (N, H, W) images along it."""


class Agreement(NamedTuple):
    """The mean share of border pixels whose masks agree, and the number of links it is the mean of."""

    linked: float
    others: float
    links: int


def link_tiles(images: Images, axis: int) -> Links:
    """Link tiles whose borders continue each other.

    Parameters
    ----------
    images : (N, H, W) array
        From 0 to 255.
    axis : {1, 2}
        2 compares right borders with left ones, 1 lower borders with upper ones.

    Returns
    -------
    (K, 2) array
        Indices of tiles: the second is right of the first, or below it. Each tile is first at most once and second at
        most once.
    """
    ends = _borders(images, axis, -1, -2)
    starts = _borders(images, axis, 0, 1)
    nearest, distance, second = _nearest(*ends, *starts)
    back, _, second_back = _nearest(*starts, *ends)
    tiles = np.arange(len(images))
    clear = distance < MAX_RATIO * np.minimum(second, second_back[nearest])
    linked = (back[nearest] == tiles) & clear & (distance < MAX_DISTANCE)
    return np.stack([tiles[linked], nearest[linked]], axis=1)


def _borders(images: Images, axis: int, *lines: int) -> tuple[Images, NDArray[np.bool_]]:
    """Return normalized borders from the outer and the second line of each tile, and which of them have contrast."""
    outer, inner = (np.take(images, line, axis) for line in lines)
    border = outer + 0.5 * (outer - inner)
    border = border - uniform_filter1d(border, _WINDOW, axis=1, mode="nearest")
    border -= border.mean(axis=1, keepdims=True)
    contrast = border.std(axis=1, keepdims=True)
    return border / np.maximum(contrast, 1e-6) / np.sqrt(border.shape[1]), contrast[:, 0] >= MIN_CONTRAST


def _nearest(
    a: Images, a_valid: NDArray[np.bool_], b: Images, b_valid: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Images, Images]:
    """Return the nearest border of another tile for each of `a`, its distance, and that of the second nearest."""
    index, first, second = np.zeros(len(a), np.int64), np.ones(len(a), np.float32), np.ones(len(a), np.float32)
    for start in range(0, len(a), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(a)))
        distances = 1 - a[rows] @ b.T
        distances[:, ~b_valid] = distances[~a_valid[rows]] = 2.0
        distances[rows - start, rows] = 2.0
        index[rows] = distances.argmin(axis=1)
        first[rows], second[rows] = np.partition(distances, 1, axis=1)[:, :2].T
    return index, first, second


def group_tiles(count: int, links: Sequence[Links]) -> NDArray[np.int64]:
    """Return the group of each tile: the index of the first tile that it is directly or indirectly linked with."""
    pairs = np.concatenate([*links, np.zeros((0, 2), np.int64)])
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)


def mask_agreement(masks: NDArray[np.bool_], links: Links, axis: int, *, mixed: bool = False) -> Agreement:
    """Compare masks along the borders of linked tiles; the links were found without them.

    Parameters
    ----------
    masks : (N, H, W) array
    links : (K, 2) array
    axis : {1, 2}
    mixed : bool
        Count only pairs with foreground and background on one border: constant borders agree by chance, too.

    Returns
    -------
    Agreement
        Of linked tiles, and of all pairs of a first tile of one link with the second tile of another.
    """
    a = np.take(masks, -1, axis)[links[:, 0]]
    b = np.take(masks, 0, axis)[links[:, 1]]
    agree = np.mean(a[:, None] == b[None], axis=2)
    is_mixed = [border.any(axis=1) & ~border.all(axis=1) for border in (a, b)]
    counted = is_mixed[0][:, None] | is_mixed[1][None] if mixed else np.ones(agree.shape, bool)
    linked = np.eye(len(links), dtype=bool)
    of_links, of_others = (agree[pairs & counted] for pairs in (linked, ~linked))
    means = [float(values.mean()) if len(values) else np.nan for values in (of_links, of_others)]
    return Agreement(means[0], means[1], len(of_links))


def write_groups(*, images: Sequence[Path], output: Path, masks: Path | None = None, sheet: Path | None = None) -> None:
    """Write a table with the columns ``id`` and ``group``, for the option `group` of splits, and log its numbers.

    Parameters
    ----------
    images : sequence of Path
        Folders of tiles of one size; those without masks may join others.
    output : Path
        CSV file with a row for each tile. Tiles of one mosaic have the same group.
    masks : Path, optional
        Folder of masks with the names of the images, to test the links by masks that continue each other.
    sheet : Path, optional
        PNG file with pairs of linked tiles.

    Raises
    ------
    RawDataError
        If there are no tiles, or they differ in size, or two have one name.
    """
    files = _files(images)
    tiles = _read(list(files.values()))
    links = {name: link_tiles(tiles, axis) for name, axis in DIRECTIONS.items()}
    groups = group_tiles(len(tiles), list(links.values()))
    names = list(files)
    write_table(output, pd.DataFrame({"id": names, "group": [f"mosaic-{names[group]}" for group in groups]}))
    sizes = np.bincount(groups)
    log(
        f"{len(tiles)} tiles: {' and '.join(f'{len(found)} links {name}' for name, found in links.items())}; "
        f"{np.count_nonzero(sizes > 1)} groups of {sizes[sizes > 1].sum()} tiles, the largest of {sizes.max()}"
    )
    if masks is not None:
        _log_agreement(files, masks, links)
    if sheet is not None:
        write_png(sheet, _sheet(tiles, links))


def _files(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the image files by identifier, sorted."""
    paths = [path for folder in folders for path in visible_paths(folder, "*") if path.suffix.lower() in _SUFFIXES]
    files = {path.stem: path for path in paths}
    if not files:
        remedy = f"name folders with images ({', '.join(_SUFFIXES)})"
        raise RawDataError(join_first(map(str, folders)), "no images", "tiles", remedy)
    if twice := [path for path in paths if files[path.stem] != path]:
        remedy = "name each folder once, and rename one of two files"
        raise RawDataError(join_first(map(str, twice)), "a name that another tile has", "different names", remedy)
    return dict(sorted(files.items()))


def _read(files: Sequence[Path]) -> Images:
    pixels = [read_image(path, "grey").squeeze() for path in files]
    shape = pixels[0].shape
    remedy = f"name folders with tiles of one size; {files[0]} has {shape[1]} x {shape[0]} pixels"
    if problems := [
        Problem(str(path), f"{other.shape[1]} x {other.shape[0]} pixels", "the size of the other tiles", remedy)
        for path, other in zip(files, pixels, strict=True)
        if other.shape != shape
    ]:
        raise RawDataError(problems)
    return np.stack(pixels).astype(np.float32)


def _log_agreement(files: Mapping[str, Path], folder: Path, links: Mapping[str, Links]) -> None:
    labelled = [folder / path.name for path in files.values() if (folder / path.name).exists()]
    if not labelled:
        raise RawDataError(
            str(folder), "no masks with the names of images", "masks", "correct --masks, or leave it out"
        )
    numbers = {path.stem: number for number, path in enumerate(labelled)}
    masks = _read(labelled) > 0
    names = list(files)
    for name, axis in DIRECTIONS.items():
        pairs = [[numbers.get(names[tile], -1) for tile in pair] for pair in links[name]]
        known = np.array([pair for pair in pairs if min(pair) >= 0], np.int64).reshape(-1, 2)
        for mixed, which in ((False, "masks"), (True, "masks that change along a border")):
            linked, others, count = mask_agreement(masks, known, axis, mixed=mixed)
            log(f"{name}, {which}: {linked:.1%} of {count} linked borders agree, {others:.1%} of other pairs")


def _sheet(tiles: Images, links: Mapping[str, Links]) -> NDArray[np.uint8]:
    """Show linked tiles side by side or one above the other, evenly chosen, at most `_SHOWN` of each direction."""
    rows: list[Images] = []
    for name, axis in DIRECTIONS.items():
        chosen = links[name][:: max(1, len(links[name]) // _SHOWN)][:_SHOWN]
        pairs = [np.pad(np.concatenate([*tiles[pair]], axis - 1), (0, _GAP), constant_values=255) for pair in chosen]
        width = _ROW // (2 if axis == 2 else 1)
        rows += [np.concatenate(pairs[start : start + width], axis=1) for start in range(0, len(pairs), width)]
    full = max((row.shape[1] for row in rows), default=1)
    padded = [np.pad(row, ((0, 0), (0, full - row.shape[1])), constant_values=255) for row in rows]
    return np.concatenate(padded or [np.full((1, 1), 255.0)]).astype(np.uint8)
