"""What the check of a data set complains about: errors file by file, warnings grouped by kind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.core.errors import Problem
from pipeline.raw.check.alike import look_alikes
from pipeline.raw.check.measure import Measured
from pipeline.raw.splits.names import SPLITS, TEST, TRAIN, VALIDATION

ERROR, WARNING = "error", "warning"

_APART = (TRAIN, VALIDATION, TEST)  # an image in two of these is a leak
_DARK = 0.25  # of the range of the type: 14 bits in a container of 16
_NAMED = 3  # files that a grouped warning names


@dataclass(frozen=True)
class Finding:
    """One thing to mend, or to know.

    Parameters
    ----------
    severity : {'error', 'warning'}
    kind : str
        ``unpaired``, ``repeated``, ``name``, ``listing``, ``exclude``, ``unreadable``, ``git-lfs``,
        ``mask-values``, ``size``, ``storage``, ``leak`` (errors); ``blank``, ``duplicate``, ``alike``,
        ``absent-class``, ``dark``, ``orientation`` (warnings).
    count : int
        How many images or files it is about.
    """

    severity: str
    kind: str
    problem: Problem
    count: int = 1


def find(
    listing: Iterable[Problem], measured: Sequence[Measured], classes: Sequence[str], normalize: str
) -> list[Finding]:
    """List everything, errors first.

    Parameters
    ----------
    listing : iterable of Problem
        What kept files from being listed.
    classes : sequence of str
        Class names, background first.
    normalize : str
        Method of normalization.
    """
    errors = [Finding(ERROR, problem.kind or "listing", problem) for problem in listing]
    # the pages of a stack may complain in the same words
    of_files = dict.fromkeys(problem for item in measured for problem in (*item.problems, item.unfit) if problem)
    errors += [Finding(ERROR, problem.kind or "unreadable", problem) for problem in of_files]
    read = [item for item in measured if not item.problems]
    same: dict[str, list[Measured]] = {}
    for item in read:
        if not item.blank:
            same.setdefault(item.content, []).append(item)
    groups = [group for group in same.values() if len(group) > 1]
    errors += [_leak(group) for group in groups if _crosses(group)]
    warnings = [
        _blank([item for item in read if item.blank]),
        _duplicates([group for group in groups if not _crosses(group)]),
        _alike([item for item in read if item.split in _APART and not item.blank]),
        _absent([item for item in read if item.pixels is not None], classes),
        _dark([item for item in read if item.highest is not None], normalize),
        _turned([item for item in read if item.image and item.image.orientation != 1 and not item.image.turned]),
    ]
    return errors + [warning for warning in warnings if warning is not None]


def _warning(kind: str, item: Measured, count: int, *texts: str) -> Finding:
    """Warn of `count` files, of which one is named; `texts` are what was found, what was expected, and a remedy."""
    return Finding(WARNING, kind, Problem(item.sample.image, *texts), count)


def _crosses(group: Sequence[Measured]) -> bool:
    return len({item.split for item in group} & set(_APART)) > 1


def _splits(group: Sequence[Measured]) -> str:
    counts = {split: sum(item.split == split for item in group) for split in (*SPLITS, None)}
    return ", ".join(f"{split or 'no split'} {count}" for split, count in counts.items() if count)


def _first(names: Iterable[str], separator: str = ", ", what: str = "") -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED} more{what}" if len(names) > _NAMED else ""
    return separator.join(names[:_NAMED]) + more


def _ids(group: Sequence[Measured]) -> list[str]:
    return [item.sample.id for item in group]


def _leak(group: Sequence[Measured]) -> Finding:
    members = ", ".join(f"{item.sample.id} in {item.split}" for item in group)
    problem = Problem(
        group[0].sample.image,
        f"the same image under {len(group)} identifiers, in more than one split: {members}",
        "no image that a network learns from among those it is scored on",
        "keep one of them: remove the others, or name them under `exclude`",
    )
    return Finding(ERROR, "leak", problem, len(group))


def _blank(group: Sequence[Measured]) -> Finding | None:
    if not group:
        return None
    kinds = len({item.content for item in group})
    labelled = sum(item.sample.labelled for item in group)
    others = f", {len(group) - labelled} of them without a mask" if labelled < len(group) else ""
    images = f"{len(group)} blank image{'s' if len(group) > 1 else ''} (every pixel has the same colour)"
    alike = "" if len(group) == 1 else ", all identical" if kinds == 1 else f", {kinds} different ones"
    return _warning(
        "blank",
        group[0],
        len(group),
        f"{images}{others}{alike}; {_splits(group)}; first: {_first(_ids(group))}",
        "images that show something: a network learns nothing from blank ones",
        "nothing, if the data set is known for it; else fetch the files again, or name them under `exclude`",
    )


def _duplicates(groups: Sequence[Sequence[Measured]]) -> Finding | None:
    if not groups:
        return None
    count = sum(map(len, groups))
    first = _first((" = ".join(_ids(group)[:_NAMED]) for group in groups), "; ", " groups")
    return _warning(
        "duplicate",
        groups[0][0],
        count,
        f"{count} images that are {len(groups)}, each several times in one split; first: {first}",
        "each image once: copies count more than the others",
        "remove the copies, or name them under `exclude`",
    )


def _alike(items: Sequence[Measured]) -> Finding | None:
    known = [(item, item.tiny) for item in items if item.tiny is not None]
    found = look_alikes([thumbnail for _, thumbnail in known], [_APART.index(item.split or "") for item, _ in known])
    pairs = [(known[one][0], known[other][0]) for one, other in found.items()]
    pairs = [(one, other) for one, other in pairs if one.content != other.content]  # those are leaks
    if not pairs:
        return None
    distinct: dict[frozenset[str], str] = {}
    for one, other in pairs:
        words = f"{one.sample.id} in {one.split} ~ {other.sample.id} in {other.split}"
        distinct.setdefault(frozenset((one.sample.id, other.sample.id)), words)
    return _warning(
        "alike",
        pairs[0][0],
        len(pairs),
        f"{len(pairs)} images that look like one in another split; first: " + _first(distinct.values(), "; ", " pairs"),
        "different images in train, validation and test: copies saved anew, and images in series, leak",
        "look at them; remove copies or name them under `exclude`, and keep series together (`group`)",
    )


def _absent(counted: Sequence[Measured], classes: Sequence[str]) -> Finding | None:
    absent = [name for index, name in enumerate(classes) if not any((item.pixels or ())[index] for item in counted)]
    if not counted or not absent:
        return None
    problem = Problem(
        counted[0].sample.mask or counted[0].sample.image,
        f"{len(counted)} masks, none of which has a pixel of {', '.join(absent)}",
        "every class in some mask",
        "look at the contact sheet, and check what the values of the masks mean (`labels`)",
    )
    return Finding(WARNING, "absent-class", problem, len(absent))


def _dark(deep: Sequence[Measured], normalize: str) -> Finding | None:
    highest = max((item.highest or 0.0 for item in deep), default=1.0)
    if highest > _DARK or normalize not in ("unit", "symmetric"):
        return None
    return _warning(
        "dark",
        deep[0],
        len(deep),
        f"{len(deep)} images of 16 bits, none of which is brighter than {highest:.1%} of the full range",
        f"values over most of the range, which `normalize: {normalize}` starts from: a network would see them "
        "nearly black",
        "set `normalize: minmax`, or `standard` with the mean and standard deviation of your data",
    )


def _turned(group: Sequence[Measured]) -> Finding | None:
    if not group:
        return None
    return _warning(
        "orientation",
        group[0],
        len(group),
        f"{len(group)} images whose file says that they lie on their side or are mirrored, which is "
        f"followed only in JPEG; first: {_first(_ids(group))}",
        "upright images",
        "look at the contact sheet: save them upright if they do not fit their masks",
    )
