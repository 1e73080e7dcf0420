"""Find images and masks in any folders, told by patterns.

::

    images: images                    root/images/a.jpg
    masks: masks                      root/masks/a.png

    images: "{split}/images/**"       root/train/images/p1/a.png      sample p1-a, official split training
    masks: "{split}/masks/**"         root/train/masks/p1/a.png

    images: train                     root/train/a_sat.jpg
    masks: train                      root/train/a_mask.png
    image_name: "{id}_sat"
    mask_name: "{id}_mask"

In the path of a folder, ``*`` stands for any text within one name, ``**`` for any folders in between (links are not
followed there), ``{split}`` for the folder names of `split_folders`. The identifier of a sample is what the wildcards
stood for and what ``{id}`` stood for in the name, joined by ``-``.

With `merge_masks` a folder of masks, one for each object, belongs to the picture of the same wildcards::

    images: "*/images"                root/n7/images/any.png          sample n7
    masks: "*/masks"                  root/n7/masks/1.png, 2.png, ...
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from pipeline.core.errors import Problem
from pipeline.raw.decode.stacks import by_page
from pipeline.raw.samples import (
    IMAGE_ENDINGS,
    ListingError,
    Sample,
    as_identifier,
    image_files,
    repeated_ids,
    require_root,
    unpaired,
)

SPLIT, ID = "{split}", "{id}"

_OFFICIAL = {"train": "training", "validation": "validation", "test": "test"}

_Key = tuple[str | None, str]
"""Official split, where the pattern names it, and identifier: what files are paired on."""


def list_samples(
    root: Path,
    dataset: str,
    *,
    images: str,
    masks: str | None,
    fov: str | None,
    split_folders: Mapping[str, Sequence[str]],
    image_name: str,
    mask_name: str,
    fov_name: str,
    prefix_ids: bool,
    missing_masks: str,
    pages: str,
    merge_masks: bool,
) -> list[Sample]:
    """List the samples below `root` without decoding any.

    The options are those of `pipeline.raw.layouts.folder.Folder`.

    Raises
    ------
    ListingError
        Listing every folder without files, file without its partner and identifier that repeats.
    """
    require_root(root, dataset, "folder")
    problems: list[Problem] = []
    splits = {name.lower(): split for split, names in split_folders.items() for name in names}
    asked = {
        what: _Role(what, pattern, _Name(name))
        for what, pattern, name in (("picture", images, image_name), ("mask", masks, mask_name), ("fov", fov, fov_name))
        if pattern is not None
    }
    found: dict[str, dict[_Key, str]] = {}
    more: dict[_Key, list[str]] = {}

    def named(key: _Key) -> str:
        return f"{key[0]}-{key[1]}" if prefix_ids and key[0] else key[1]

    taken: set[str] = set()
    for role in sorted(asked.values(), key=lambda role: role.name.plain):
        # where several roles share a folder, a plain {id} means the files that no other name fits
        others = frozenset(taken) if role.name.plain else frozenset()
        merged = more if merge_masks and role.what == "mask" else None
        found[role.what] = _list_role(root, role, splits, others, problems, named, merge_masks, merged)
        taken |= set() if role.name.plain else set(found[role.what].values())
    pictures = found["picture"]
    if not pictures:  # that no mask has its picture then follows from it
        raise ListingError([*problems, _nothing(root, asked["picture"], splits)], ())
    partners = {
        what: _pair(pictures, found[what], asked[what], asked["picture"], root, missing_masks, problems, named)
        for what in ("mask", "fov")
        if what in asked
    }
    masks_of = partners.get("mask", {})
    by_first = {found["mask"][key]: paths for key, paths in more.items()}
    samples = [
        Sample(
            id=named((split, name)),
            image=path,
            mask=masks_of.get((split, name)),
            more_masks=tuple(by_first.get(masks_of.get((split, name), ""), ())),
            fov=partners.get("fov", {}).get((split, name)),
            official_split=None if split is None else _OFFICIAL[split],
        )
        for (split, name), path in pictures.items()
    ]
    hint = "set `prefix_ids: true` if the splits use the same names, else rename or remove all but one"
    repeats = repeated_ids(samples)
    problems += [replace(repeat, remedy=hint) for repeat in repeats] if SPLIT in images else repeats
    if pages == "samples" and not problems:
        samples = by_page(samples, problems)
        problems += repeated_ids(samples)
    if problems:
        raise ListingError(problems, samples)
    return sorted(samples, key=attrgetter("id"))


class _Name:
    """A name with ``{id}`` in it, to be found in file names."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.plain = template == ID
        self._whole = template.lower().endswith(IMAGE_ENDINGS)
        before, _, after = template.partition(ID)
        before, after = as_identifier(before), as_identifier(after)
        self._pattern = re.compile(f"{re.escape(before)}(.+){re.escape(after)}", re.DOTALL)

    def find(self, file: str) -> str | None:
        """Return what ``{id}`` stands for in the name of a file, or None where the name does not fit."""
        text = file if self._whole else file[: file.rindex(".")]
        if self.plain:
            return text
        match = self._pattern.fullmatch(as_identifier(text))
        return match.group(1) if match else None


@dataclass(frozen=True)
class _Role:
    what: str
    pattern: str
    name: _Name


@dataclass(frozen=True)
class _Place:
    """A folder that a pattern fits: its split, and what the wildcards stand for."""

    path: str
    split: str | None = None
    matched: tuple[str, ...] = ()


def _list_role(
    root: Path,
    role: _Role,
    splits: Mapping[str, str],
    taken: frozenset[str],
    problems: list[Problem],
    names: Callable[[_Key], str],
    by_folder: bool,
    more: dict[_Key, list[str]] | None,
) -> dict[_Key, str]:
    """Map keys to the files of one role; further files of a key go into `more`, or else join `problems`."""
    files: dict[_Key, str] = {}
    repeated: dict[_Key, list[str]] = {}
    for place in _places(_Place(str(root)), _steps(role.pattern), splits):
        start = "-".join((*place.matched, ""))
        for file in image_files(place.path):
            name = role.name.find(file)
            path = os.path.join(place.path, file)
            if name is None or path in taken:
                continue
            key = (place.split, as_identifier(start[:-1] if by_folder else start + name))
            if files.setdefault(key, path) is path:
                continue
            if more is not None:
                more.setdefault(key, []).append(path)
            else:
                repeated.setdefault(key, [files[key]]).append(path)
    problems += [
        Problem(
            ", ".join(paths),
            f"{len(paths)} files of one role ({role.what}) with the identifier {name!r}",
            "one file for each identifier",
            "remove or rename all but one, or say more in the pattern and the name",
            kind="repeated",
            sample=names((split, name)),
        )
        for (split, name), paths in sorted(repeated.items(), key=lambda item: item[1])
    ]
    return files


def _steps(pattern: str) -> list[str]:
    return [step for step in pattern.split("/") if step not in ("", ".")]


def _places(place: _Place, steps: Sequence[str], splits: Mapping[str, str]) -> Iterator[_Place]:
    """Walk down the folders that fit the steps of a pattern."""
    if not steps:
        yield place
        return
    step, rest = steps[0], steps[1:]
    if step == "**":
        yield from _places(place, rest, splits)
        for name in _subfolders(place.path, links=False):
            below = replace(place, path=os.path.join(place.path, name), matched=(*place.matched, name))
            yield from _places(below, steps, splits)
    elif "*" in step or SPLIT in step:
        pattern = _step_pattern(step, splits)
        for name in _subfolders(place.path):
            if match := pattern.fullmatch(name):
                split = match.groupdict().get("split")
                yield from _places(
                    _Place(
                        os.path.join(place.path, name),
                        place.split if split is None else splits[split.lower()],
                        place.matched + tuple(text for key, text in _groups(match) if key != "split"),
                    ),
                    rest,
                    splits,
                )
    else:
        yield from _places(replace(place, path=os.path.join(place.path, step)), rest, splits)


def _step_pattern(step: str, splits: Mapping[str, str]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(splits, key=len, reverse=True))) or "(?!)"
    special = {"*": "(.*)", SPLIT: f"(?P<split>(?i:{names}))"}
    return re.compile("".join(special.get(part, re.escape(part)) for part in re.split(r"(\*|\{split\})", step)))


def _groups(match: re.Match[str]) -> Iterator[tuple[str | None, str]]:
    names = {number: name for name, number in match.re.groupindex.items()}
    for number, text in enumerate(match.groups(), start=1):
        yield names.get(number), text


def _subfolders(folder: str, links: bool = True) -> list[str]:
    if not Path(folder).is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=links)
        )


def _pair(
    pictures: Mapping[_Key, str],
    files: Mapping[_Key, str],
    role: _Role,
    picture: _Role,
    root: Path,
    missing_masks: str,
    problems: list[Problem],
    names: Callable[[_Key], str],
) -> dict[_Key, str]:
    """Give every picture its file of a role; what does not pair joins `problems`."""
    if SPLIT in picture.pattern and SPLIT not in role.pattern:
        paired = {key: files[None, key[1]] for key in pictures if (None, key[1]) in files}
        used = set(paired.values())
        unused = {key: path for key, path in files.items() if path not in used}
    else:
        paired = {key: files[key] for key in pictures if key in files}
        unused = {key: path for key, path in files.items() if key not in pictures}
    where = f"{root / role.pattern} ({role.name.template})"
    bare = {split for split, _ in pictures} - {split for split, _ in paired}
    for split in sorted(bare, key=str):
        if role.what == "mask" and split in ("validation", "test"):
            continue  # a whole role may be absent; a gap in it may not
        count = sum(key[0] == split for key in pictures)
        half = f" of split {split!r}" if split else ""
        problems.append(
            Problem(
                where,
                f"no {role.what} for any of the {count} pictures{half}",
                f"files named as the pictures in {root / picture.pattern} are ({picture.name.template})",
                f"correct the pattern and the name, or set it to null if there is no {role.what}",
            )
        )
    gaps = [key for key in pictures if key not in paired and key[0] not in bare]
    if role.what == "mask" and missing_masks == "unlabelled":
        gaps = []
    wanted = {key: pictures[key] for key in (*paired, *gaps)}
    problems += unpaired(wanted, {**paired, **unused}, where, str(root / picture.pattern), role.what, names)
    return paired


def _nothing(root: Path, role: _Role, splits: Mapping[str, str]) -> Problem:
    """Say that no picture fits, and what there is instead."""
    folders = [place.path for place in _places(_Place(str(root)), _steps(role.pattern), splits)]
    standing = [folder for folder in folders if Path(folder).is_dir()]
    known = f" ({{split}} is one of {', '.join(sorted(splits))})" if SPLIT in role.pattern else ""
    if standing:
        seen = sorted(name for folder in standing[:1] for name in os.listdir(folder))[:5]
        found = f"no pictures named {role.name.template}; there is {', '.join(seen) or 'nothing'}"
    else:
        there = sorted(name for name in os.listdir(root) if not name.startswith("."))
        found = f"no such folder; in {root} there is {', '.join(there[:8])}{', ...' if len(there) > 8 else ''}"
    return Problem(
        str(root / role.pattern),
        found + known,
        f"pictures: files that end in {', '.join(IMAGE_ENDINGS)}",
        "correct `images` (a folder below `root`; `.` is `root` itself) or `image_name`",
    )
