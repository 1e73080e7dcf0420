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

With `merge_masks` a folder of masks, one for each object, belongs to the image of the same wildcards::

    images: "*/images"                root/n7/images/any.png          sample n7
    masks: "*/masks"                  root/n7/masks/1.png, 2.png, ...
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipeline.core.errors import Problem
from pipeline.core.options import Options
from pipeline.raw.decode.stacks import by_page
from pipeline.raw.layouts.base import Layout
from pipeline.raw.samples import (
    IMAGE_ENDINGS,
    RENAME,
    Sample,
    as_identifier,
    image_files,
    repeated,
    require_root,
    sorted_samples,
    unpaired,
)

SPLIT, ID = "{split}", "{id}"

_OFFICIAL = {"train": "training", "validation": "validation", "test": "test"}

_Key = tuple[str | None, str]
"""Official split, where the pattern names it, and identifier: what files are paired on."""

_Files = dict[_Key, list[str]]
"""Paths of the files of a role, by key; one of each, but for masks to merge."""


def _check_pattern(pattern: str | None) -> str | None:
    if pattern is None:
        return None
    steps = pattern.split("/")
    if not pattern or pattern.startswith("/") or ".." in steps or "\\" in pattern or ":" in pattern:
        raise ValueError("a folder below `root`, written with /")
    if any("**" in step and step != "**" for step in steps) or steps.count("**") > 1:
        raise ValueError("`**` once at most, and alone between slashes")
    if pattern.count(SPLIT) > 1 or set(pattern.replace(SPLIT, "")) & {"{", "}"}:
        raise ValueError(f"{SPLIT} once at most, and no other braces")
    if steps[-1].lower().endswith(IMAGE_ENDINGS):
        folder, stem = "/".join(steps[:-1]) or ".", steps[-1][: steps[-1].rindex(".")].replace("*", ID)
        named = f', and "{stem}" as `image_name` or `mask_name`' if stem != ID and stem.count(ID) == 1 else ""
        raise ValueError(
            "folders, not files (`.` is `root` itself; what files are called is said by `image_name` and `mask_name`): "
            f'here "{folder}"{named}'
        )
    return pattern


def _check_name(template: str) -> str:
    if template.count(ID) != 1 or set(template.replace(ID, "")) & set("{}*/\\"):
        raise ValueError(f"a file name with {ID} once, such as {ID}_mask; folders belong into the pattern")
    return template


Pattern = Annotated[str | None, AfterValidator(_check_pattern)]
FileName = Annotated[str, AfterValidator(_check_name)]
FolderName = Annotated[str, Field(pattern=r"^[^/\\*{}]+$")]


class SplitFolders(Options):
    """Which folder names `{split}` stands for; upper and lower case are the same."""

    train: tuple[FolderName, ...] = ("train", "training")
    validation: tuple[FolderName, ...] = ("val", "valid", "validation")
    test: tuple[FolderName, ...] = ("test", "testing")


class Patterns(Layout):
    """Where images, masks and fields of view lie in any folders."""

    images: Annotated[str, AfterValidator(_check_pattern)] = Field(
        "images", description="Folder of the images below root, or a pattern: *, **, {split}"
    )
    masks: Pattern = Field("masks", description="Folder or pattern of the masks; null: there are none, only to predict")
    fov: Pattern = Field(None, description="Folder or pattern of the fields of view (black outside, white inside)")
    split_folders: SplitFolders = SplitFolders()
    image_name: FileName = Field(ID, description="What images are called, without ending, such as {id}_sat")
    mask_name: FileName = Field(ID, description="What masks are called, without ending, such as {id}_mask")
    fov_name: FileName = Field(ID, description="What fields of view are called, without ending")
    prefix_ids: bool = Field(False, description="Put the split before the id, where splits use the same names: test-01")
    missing_masks: Literal["error", "unlabelled"] = Field(
        "error", description="An image without mask is an error, or an unlabelled sample that is only predicted"
    )
    pages: Literal["error", "samples"] = Field(
        "error", description="A TIFF file of several pages is an error, or each page is a sample: <id>-p001"
    )
    merge_masks: bool = Field(
        False, description="Masks of a folder are single objects of one image: images */images, masks */masks"
    )

    @classmethod
    def prefill(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Let the folders tell test and validation samples, where `images` has {split}."""
        return {"test": "official", "validation": "official", **data} if SPLIT in str(data.get("images")) else data

    @property
    def labelled(self) -> bool:
        """Whether there are masks to train on and to score with."""
        return self.masks is not None

    def official_splits(self) -> tuple[str, ...]:
        """Name the splits for which the data set itself can name samples."""
        return ("test", "validation") if SPLIT in self.images else ()

    def list_samples(self, root: Path, dataset: str) -> list[Sample]:
        """List the samples that the patterns find; see `Layout.list_samples`."""
        require_root(root, dataset, self.layout, self.has_synthetic)
        problems: list[Problem] = []
        prefix = "set `prefix_ids: true` if the splits use the same names, else "
        remedy = prefix + RENAME if SPLIT in self.images else RENAME
        samples = sorted_samples(self.find_samples(root, problems), problems, remedy)
        return sorted_samples(by_page(samples, problems), problems) if self.pages == "samples" else samples

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List what the patterns find below `root`; what does not pair joins `problems`."""
        roles = self._roles()
        files: dict[str, _Files] = {}
        taken: set[str] = set()
        for role in sorted(roles.values(), key=lambda role: role.name.plain):
            # where several roles share a folder, a plain {id} means the files that no other name fits
            listed = self._list_role(root, role, taken if role.name.plain else set())
            files[role.option] = listed
            taken |= {path for paths in listed.values() for path in paths if not role.name.plain}
            if role.what != "mask" or not self.merge_masks:
                named = ((self._identifier(key), paths) for key, paths in listed.items())
                hint = f"{RENAME}, or say more in the pattern and the name"
                problems += repeated(named, f"files of one role ({role.what})", hint)
        images = {key: paths[0] for key, paths in files["images"].items()}
        if not images:  # that no mask has its image then follows from it
            problems.append(self._nothing(root, roles["images"]))
            return []
        masks, fovs = (
            self._pair(images, files[what], roles[what], root, problems) if what in roles else {}
            for what in ("masks", "fov")
        )
        return [
            Sample(
                id=self._identifier(key),
                image=path,
                mask=masks[key][0] if key in masks else None,
                more_masks=tuple(masks[key][1:]) if key in masks and self.merge_masks else (),
                fov=fovs[key][0] if key in fovs else None,
                official_split=None if key[0] is None else _OFFICIAL[key[0]],
            )
            for key, path in images.items()
        ]

    def _roles(self) -> dict[str, "_Role"]:
        """Return the roles that files have here, by the option that says where they lie."""
        options = {
            "images": ("image", self.images, self.image_name),
            "masks": ("mask", self.masks, self.mask_name),
            "fov": ("fov", self.fov, self.fov_name),
        }
        return {
            option: _Role(option, what, pattern, _Name(name))
            for option, (what, pattern, name) in options.items()
            if pattern is not None
        }

    @property
    def _splits(self) -> dict[str, str]:
        """The split that each folder name stands for, in small letters."""
        return {name.lower(): split for split, names in self.split_folders for name in names}

    def _identifier(self, key: _Key) -> str:
        return f"{key[0]}-{key[1]}" if self.prefix_ids and key[0] else key[1]

    def _list_role(self, root: Path, role: "_Role", taken: set[str]) -> _Files:
        """Find the files of a role, but for those that others have taken."""
        files: _Files = {}
        for place in _places(_Place(str(root)), _steps(role.pattern), self._splits):
            start = "-".join((*place.matched, ""))
            for file in image_files(place.path):
                name, path = role.name.find(file), os.path.join(place.path, file)
                if name is not None and path not in taken:
                    key = (place.split, as_identifier(start[:-1] if self.merge_masks else start + name))
                    files.setdefault(key, []).append(path)
        return files

    def _pair(
        self, images: Mapping[_Key, str], files: _Files, role: "_Role", root: Path, problems: list[Problem]
    ) -> _Files:
        """Give every image its files of a role; what does not pair joins `problems`."""
        shared = SPLIT in self.images and SPLIT not in role.pattern  # one folder for all splits
        paired = {key: files[other] for key in images if (other := (None, key[1]) if shared else key) in files}
        used = {paths[0] for paths in paired.values()}
        unused = {key: paths[0] for key, paths in files.items() if paths[0] not in used}
        where, image_where = f"{root / role.pattern} ({role.name.template})", root / self.images
        without = {split for split, _ in images} - {split for split, _ in paired}
        for split in sorted(without, key=str):
            if role.what == "mask" and split in ("validation", "test"):
                continue  # a whole role may be absent; a gap in it may not
            count = sum(key[0] == split for key in images)
            half = f" of split {split!r}" if split else ""
            problems.append(
                Problem(
                    where,
                    f"no {role.what} for any of the {count} images{half}",
                    f"files named as the images in {image_where} are ({self.image_name})",
                    f"correct the pattern and the name, or set it to null if there is no {role.what}",
                )
            )
        all_wanted = role.what != "mask" or self.missing_masks == "error"
        wanted = {key: path for key, path in images.items() if key in paired or (all_wanted and key[0] not in without)}
        known = {key: paths[0] for key, paths in paired.items()} | unused
        problems += unpaired(wanted, known, where, image_where, role.what, identifier=self._identifier)
        return paired

    def _nothing(self, root: Path, role: "_Role") -> Problem:
        """Say that no image fits, and what there is instead."""
        folders = [place.path for place in _places(_Place(str(root)), _steps(role.pattern), self._splits)]
        existing = next((folder for folder in folders if Path(folder).is_dir()), None)
        known = f" ({SPLIT} is one of {', '.join(sorted(self._splits))})" if SPLIT in role.pattern else ""
        if existing:
            seen = ", ".join(sorted(os.listdir(existing))[:5]) or "nothing"
            found = f"no images named {role.name.template}; there is {seen}"
        else:
            names = sorted(name for name in os.listdir(root) if not name.startswith("."))
            found = f"no such folder; in {root} there is {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        return Problem(
            str(root / role.pattern),
            found + known,
            f"images: files that end in {', '.join(IMAGE_ENDINGS)}",
            "correct `images` (a folder below `root`; `.` is `root` itself) or `image_name`",
        )

    def problems(self, where: str, mask_kind: str) -> Iterator[Problem]:
        """List what is right in itself and wrong together; `where` is the path of the data set in the file."""
        roles = self._roles()
        for one, other in combinations(roles.values(), 2):
            if (one.pattern, one.name.template) == (other.pattern, other.name.template):
                yield Problem(
                    f"{where}.{other.option}",
                    f"the same files as `{one.option}`: {other.pattern!r}, named {other.name.template!r}",
                    "files of its own",
                    "say another folder, or what the names end in, such as `mask_name: '{id}_mask'`",
                )
        split = [option for option, role in roles.items() if SPLIT in role.pattern]
        if split and "images" not in split:
            found = f"no {SPLIT}, while {split[0]} has one"
            yield Problem(f"{where}.images", found, f"{SPLIT} in `images` too", "add it")
        if self.prefix_ids and split != list(roles):
            found = f"true, while {', '.join(f'`{option}`' for option in roles if option not in split)} has no {SPLIT}"
            yield Problem(f"{where}.prefix_ids", found, f"{SPLIT} in every pattern", "remove it")
        folders = f"{where}.split_folders"
        if "split_folders" in self.model_fields_set and not split:
            yield Problem(folders, f"names, while no pattern has {SPLIT}", f"{SPLIT} in `images`", "remove them")
        names = [name.lower() for _, folder_names in self.split_folders for name in folder_names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield Problem(folders, f"{', '.join(twice)} more than once", "each name once", "remove all but one")


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
    option: str
    what: str
    pattern: str
    name: _Name


@dataclass(frozen=True)
class _Place:
    """A folder that a pattern fits: its split, and what the wildcards stand for."""

    path: str
    split: str | None = None
    matched: tuple[str, ...] = ()


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
