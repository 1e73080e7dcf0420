"""Suggest templates of file names for images and masks that do not pair by name."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

ID = "{id}"
_MAX_COMPARED = 200  # names
_SEPARATORS = "-_. "

Templates = tuple[str, str]
"""Template of the names of images, and of the names of other files such as masks."""


def suggest_templates(images: Collection[str], others: Collection[str]) -> Templates | None:
    """Return templates such as ``("{id}", "{id}_mask")`` that pair at least half of the images, or None.

    Parameters
    ----------
    images, others : collection of str
        File names without extension, which are not equal; of one folder for both, all names.
    """
    images, others = {*images}, {*others}
    candidates = [(ID, template) for template in _surroundings(images, others)]
    candidates += [(template, ID) for template in _surroundings(others, images)]
    candidates.append((_common_template(sorted(images)), _common_template(sorted(others))))
    scored = [
        (len(_texts(first, images) & _texts(second, others)), (first, second))
        for first, second in candidates
        if (first, second) != (ID, ID) and not set(first + second) & set("*/\\")
    ]
    count, best = max(scored, key=lambda item: item[0], default=(0, None))
    return best if 2 * count >= max(1, len(images)) else None


def _surroundings(inner: set[str], outer: set[str]) -> list[str]:
    """Return the commonest template of names in `outer` that contain a name in `inner`, if there is one."""
    templates: Counter[str] = Counter()
    for name in islice(sorted(outer), _MAX_COMPARED):
        templates.update({f"{name[:start]}{ID}{name[end:]}" for start, end in _parts(name) if name[start:end] in inner})
    return [template for template, _ in templates.most_common(1) if not set(template.replace(ID, "")) & set("{}")]


def _parts(name: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each part of a name, except the whole name."""
    for start in range(len(name)):
        for end in range(start + 1, len(name) + 1):
            if (start, end) != (0, len(name)):
                yield start, end


def _common_template(names: Sequence[str]) -> str:
    """Return the template of what all names have in common before their first or behind their last separator."""
    prefix, suffix = _common_prefix(names), _common_prefix([name[::-1] for name in names])[::-1]
    prefix = prefix[: 1 + max(map(prefix.rfind, _SEPARATORS))]
    suffix = suffix[min((index for index in map(suffix.find, _SEPARATORS) if index >= 0), default=len(suffix)) :]
    return f"{prefix}{ID}{suffix}"


def _common_prefix(names: Sequence[str]) -> str:
    first, last = min(names, default=""), max(names, default="")
    return first[: next((index for index, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1), None)]


def _texts(template: str, names: Collection[str]) -> set[str]:
    """Return the texts that ``{id}`` of a template matches in names."""
    prefix, _, suffix = template.partition(ID)
    pattern = re.compile(f"{re.escape(prefix)}(.+){re.escape(suffix)}", re.DOTALL)
    return {match.group(1) for name in names if (match := pattern.fullmatch(name))}
