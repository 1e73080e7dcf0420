"""Findings of the check of a data set: errors for each file, warnings grouped by kind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.core.errors import Problem, join_first, plural
from pipeline.raw.check.measure import Measurement
from pipeline.raw.check.near_duplicates import find_near_duplicates
from pipeline.raw.inspect import orientation_warning, unequal_sizes
from pipeline.raw.recipes import CheckRecipe, NormalizeMethod
from pipeline.raw.splits.names import SPLITS, TEST, TRAIN, VALIDATION
from pipeline.raw.value_range import narrow_range_warning

ERROR, WARNING = "error", "warning"

_DISJOINT_SPLITS = (TRAIN, VALIDATION, TEST)  # an image in two of these is a leak
_DARK_LIMIT = 0.25  # of the range of the type: 14 bits in a 16-bit type
_SWAP = "if the classes are swapped, exchange their values under `labels`, or without `labels` set `inverted: true`"
_FOREGROUND_LIMIT = 0.9  # larger parts of foreground suggest swapped classes
_MAX_LISTED = 3  # files that a grouped warning lists


@dataclass(frozen=True)
class Finding:
    """One error or warning.

    Parameters
    ----------
    severity : {'error', 'warning'}
    kind : str
        ``unpaired``, ``duplicate-id``, ``name``, ``listing``, ``exclude``, ``unreadable``, ``git-lfs``,
        ``mask-values``, ``size``, ``storage``, ``leak`` (errors); ``blank``, ``duplicate``, ``near-duplicate``,
        ``absent-class``, ``dark``, ``narrow-range``, ``orientation``, ``white-is-zero``, ``mostly-foreground``
        (warnings).
    count : int
        Number of images or files concerned.
    """

    severity: str
    kind: str
    problem: Problem
    count: int = 1


def collect_findings(
    listing: Iterable[Problem], measured: Sequence[Measurement], classes: Sequence[str], recipe: CheckRecipe
) -> list[Finding]:
    """List all findings, errors first.

    Parameters
    ----------
    listing : iterable of Problem
        Problems of the listing.
    classes : sequence of str
        Class names, background first.
    recipe : CheckRecipe
        With the settings of shards that images must be compatible with.
    """
    errors = [Finding(ERROR, problem.kind or "listing", problem) for problem in listing]
    # pages of a stack may have equal problems
    file_problems = dict.fromkeys(
        problem for item in measured for problem in (*item.problems, item.storage_problem) if problem
    )
    errors += [Finding(ERROR, problem.kind or "unreadable", problem) for problem in file_problems]
    readable = [item for item in measured if not item.problems]
    errors += [Finding(ERROR, problem.kind, problem) for problem in _unequal_sizes(readable)] if recipe.native else []
    by_content: dict[str, list[Measurement]] = {}
    for item in readable:
        if not item.blank:
            by_content.setdefault(item.content, []).append(item)
    labelled = [item for item in readable if item.mask_pixels is not None]
    groups = [group for group in by_content.values() if len(group) > 1]
    errors += [_leak(group) for group in groups if _is_leak(group)]
    warnings = [
        _blank_images([item for item in readable if item.blank]),
        _duplicates([group for group in groups if not _is_leak(group)]),
        _near_duplicates([item for item in readable if item.split in _DISJOINT_SPLITS and not item.blank]),
        _absent_classes(labelled, classes),
        _turned_images(readable),
        _white_is_zero([item for item in readable if item.mask is not None and item.mask.white_is_zero], labelled),
        _mostly_foreground(labelled, classes),
        _dark_images([item for item in readable if item.highest is not None], recipe.normalize)
        or _narrow_images(readable, recipe.normalize),
    ]
    return errors + [warning for warning in warnings if warning is not None]


def _warning(kind: str, item: Measurement, count: int, *texts: str) -> Finding:
    """Build a warning about `count` files, located at one of them; `texts` are found, expected and remedy."""
    return Finding(WARNING, kind, Problem(item.sample.image, *texts), count)


def _unequal_sizes(items: Sequence[Measurement]) -> list[Problem]:
    """List the sizes of images of each split that has several."""
    problems = []
    for split in SPLITS:
        sizes: dict[tuple[int, int], list[str]] = {}
        for item in items:
            if item.split == split:
                sizes.setdefault(item.size, []).append(item.sample.image)
        problems += unequal_sizes(sizes)
    return problems


def _is_leak(group: Sequence[Measurement]) -> bool:
    return len({item.split for item in group} & set(_DISJOINT_SPLITS)) > 1


def _split_counts(group: Sequence[Measurement]) -> str:
    counts = {split: sum(item.split == split for item in group) for split in (*SPLITS, None)}
    return ", ".join(f"{split or 'no split'} {count}" for split, count in counts.items() if count)


def _first_names(names: Iterable[str], separator: str = ", ", unit: str = "") -> str:
    names = list(names)
    more = f" and {len(names) - _MAX_LISTED} more{unit}" if len(names) > _MAX_LISTED else ""
    return separator.join(names[:_MAX_LISTED]) + more


def _ids(group: Sequence[Measurement]) -> list[str]:
    return [item.sample.id for item in group]


def _leak(group: Sequence[Measurement]) -> Finding:
    """Return the error about identical images in several of the splits that must be disjoint."""
    members = join_first(f"{item.sample.id} in {item.split}" for item in group)
    problem = Problem(
        group[0].sample.image,
        f"the same image with {len(group)} identifiers, in more than one split: {members}",
        "different images in train, validation and test, so that no network is scored on images it was trained on",
        "list all but one of them under `exclude`",
    )
    return Finding(ERROR, "leak", problem, len(group))


def _blank_images(group: Sequence[Measurement]) -> Finding | None:
    if not group:
        return None
    distinct = len({item.content for item in group})
    labelled = sum(item.sample.labelled for item in group)
    unlabelled = f", {len(group) - labelled} of them without a mask" if labelled < len(group) else ""
    images = f"{len(group)} blank image{'s' if len(group) > 1 else ''} (every pixel has the same colour)"
    variety = "" if len(group) == 1 else ", all identical" if distinct == 1 else f", {distinct} different ones"
    return _warning(
        "blank",
        group[0],
        len(group),
        f"{images}{unlabelled}{variety}; {_split_counts(group)}; examples: {_first_names(_ids(group))}",
        "images with content: a network learns nothing from blank ones",
        "none, if blank images belong to the data set; otherwise download the files again, or list them in `exclude`",
    )


def _duplicates(groups: Sequence[Sequence[Measurement]]) -> Finding | None:
    if not groups:
        return None
    count = sum(map(len, groups))
    examples = _first_names((" = ".join(_ids(group)[:_MAX_LISTED]) for group in groups), "; ", " groups")
    return _warning(
        "duplicate",
        groups[0][0],
        count,
        f"{count} images with only {len(groups)} different contents in the same split; examples: {examples}",
        "each image once: duplicates count several times",
        "list the copies under `exclude`",
    )


def _near_duplicates(items: Sequence[Measurement]) -> Finding | None:
    items = [item for item in items if item.grey_thumbnail is not None]
    thumbnails = [item.grey_thumbnail for item in items if item.grey_thumbnail is not None]
    partners = find_near_duplicates(thumbnails, [_DISJOINT_SPLITS.index(item.split or "") for item in items])
    pairs = [(items[index], items[partner]) for index, partner in partners.items()]
    pairs = [(first, second) for first, second in pairs if first.content != second.content]  # equal ones are leaks
    if not pairs:
        return None
    pair_texts: dict[frozenset[str], str] = {}
    for first, second in pairs:
        text = f"{first.sample.id} in {first.split} ~ {second.sample.id} in {second.split}"
        pair_texts.setdefault(frozenset((first.sample.id, second.sample.id)), text)
    return _warning(
        "near-duplicate",
        pairs[0][0],
        len(pairs),
        f"{plural(len(pairs), 'image')} with a near-duplicate in another split; examples: "
        + _first_names(pair_texts.values(), "; ", " pairs"),
        "different images in train, validation and test: resaved copies and series of images are leaks",
        "look at these images; list copies under `exclude`, and keep series in one split (`group`)",
    )


def _absent_classes(items: Sequence[Measurement], classes: Sequence[str]) -> Finding | None:
    """Return a warning about the classes that no mask contains."""
    absent = [name for index, name in enumerate(classes) if not any((item.mask_pixels or ())[index] for item in items)]
    if not items or not absent:
        return None
    problem = Problem(
        items[0].sample.mask or items[0].sample.image,
        f"{plural(len(items), 'mask')}, none with a pixel of {', '.join(absent)}",
        "every class in at least one mask",
        "look at the contact sheet, and check the meaning of the mask values (`labels`)",
    )
    return Finding(WARNING, "absent-class", problem, len(absent))


def _turned_images(readable: Sequence[Measurement]) -> Finding | None:
    """Return a warning about images that an orientation tag turns and that have the same size as their masks."""
    turned = [item for item in readable if item.orientations is not None]
    texts = orientation_warning([item.orientations or "" for item in turned], len(readable))
    return None if texts is None else _warning("orientation", turned[0], len(turned), *texts)


def _foreground_share(labelled: Sequence[Measurement]) -> float:
    """Return the fraction of the pixels of all masks, without ignored ones, that are not of the first class."""
    counts = [(item.mask_pixels or ())[:-1] for item in labelled]
    total = sum(map(sum, counts))
    return 1 - sum(pixels[0] for pixels in counts) / total if total else 0.0


def _white_is_zero(masks: Sequence[Measurement], labelled: Sequence[Measurement]) -> Finding | None:
    """Return a warning about masks whose bits mean the opposite of what a program may have meant."""
    if not masks:
        return None
    problem = Problem(
        masks[0].sample.mask or "",
        f"{len(masks)} of {plural(len(labelled), 'mask')} store white as zero (TIFF, MINISWHITE), as tifffile does for "
        f"boolean arrays; true or 1 is read as black. Foreground: {_foreground_share(masks):.1%} of their pixels",
        "masks whose foreground is white when they are shown",
        f"look at the contact sheet: {_SWAP}, or save the masks as 8-bit PNG with 0 and 255",
    )
    return Finding(WARNING, "white-is-zero", problem, len(masks))


def _mostly_foreground(labelled: Sequence[Measurement], classes: Sequence[str]) -> Finding | None:
    """Return a warning if so much is foreground that the classes are probably swapped."""
    share = _foreground_share(labelled)
    if len(classes) != 2 or share <= _FOREGROUND_LIMIT:
        return None
    problem = Problem(
        labelled[0].sample.mask or labelled[0].sample.image,
        f"{share:.1%} of the pixels of {plural(len(labelled), 'mask')} are {classes[1]}",
        f"at most {_FOREGROUND_LIMIT:.0%}, unless the objects fill the images",
        f"look at the contact sheet: {_SWAP}",
    )
    return Finding(WARNING, "mostly-foreground", problem, len(labelled))


def _narrow_images(items: Sequence[Measurement], normalize: NormalizeMethod) -> Finding | None:
    """Return a warning about images that normalization leaves almost constant."""
    narrow = {item.sample.image: item.narrow for item in items if item.narrow is not None}
    texts = narrow_range_warning(narrow, len(items), normalize)
    return None if texts is None else Finding(WARNING, "narrow-range", Problem(next(iter(narrow)), *texts), len(narrow))


def _dark_images(items: Sequence[Measurement], normalize: str) -> Finding | None:
    """Return a warning if 16-bit images use so little of their range that normalization leaves them nearly black."""
    highest = max((item.highest or 0.0 for item in items), default=1.0)
    if highest > _DARK_LIMIT or normalize not in ("unit", "symmetric"):
        return None
    return _warning(
        "dark",
        items[0],
        len(items),
        f"{len(items)} 16-bit images, none of which is brighter than {highest:.1%} of the full range",
        f"values over most of the full range, by which `normalize: {normalize}` divides; these images would be "
        "nearly black",
        "set `normalize: minmax`, or `standard` with the mean and standard deviation of your data",
    )
