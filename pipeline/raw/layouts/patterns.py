"""Find images and masks in any folders by patterns.

::

    images: images                    root/images/a.jpg
    masks: masks                      root/masks/a.png

    images: "{split}/images/**"       root/train/images/p1/a.png      sample p1-a, official split training
    masks: "{split}/masks/**"         root/train/masks/p1/a.png

    images: train                     root/train/a_sat.jpg
    masks: train                      root/train/a_mask.png
    image_name: "{id}_sat"
    mask_name: "{id}_mask"

In the path of a folder, ``*`` matches any text within one name, ``**`` any number of folders (links to a folder that
they lie in are not followed), ``{split}`` the folder names in `split_folders`. The identifier of a sample is the text
that the wildcards and ``{id}`` in the file name matched, joined by ``-``.

With `merge_masks` each image has a folder of masks of single objects, paired by the text of the wildcards::

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

from pipeline.core.errors import Problem, plural
from pipeline.core.folders import leads_back
from pipeline.core.options import Options
from pipeline.raw.decode.stacks import expand_pages
from pipeline.raw.decode.unsupported import conversion_remedy
from pipeline.raw.layouts.base import Layout
from pipeline.raw.layouts.suggest import ID, suggest_templates
from pipeline.raw.samples import (
    IMAGE_EXTENSIONS,
    RENAME_REMEDY,
    Sample,
    as_identifier,
    duplicate_problems,
    image_files,
    pairing_problems,
    require_root,
    sorted_samples,
    stem,
)

SPLIT = "{split}"

_MAX_NAMES = 8  # of the contents of a folder, in a message

_OFFICIAL_SPLITS = {"train": "training", "validation": "validation", "test": "test"}

_Key = tuple[str | None, str]
"""Official split, if the pattern contains it, and identifier: files are paired by this key."""

_Files = dict[_Key, list[str]]
"""Paths of the files of a role by key; more than one per key only for masks to merge."""


def _check_pattern(pattern: str | None) -> str | None:
    if pattern is None:
        return None
    steps = pattern.split("/")
    if not pattern or pattern.startswith("/") or ".." in steps or "\\" in pattern or ":" in pattern:
        raise ValueError("a path below `root`, with / between folders")
    if any("**" in step and step != "**" for step in steps) or steps.count("**") > 1:
        raise ValueError("`**` at most once, alone between slashes")
    if pattern.count(SPLIT) > 1 or set(pattern.replace(SPLIT, "")) & {"{", "}"}:
        raise ValueError(f"{SPLIT} at most once, and no other braces")
    if steps[-1].lower().endswith(IMAGE_EXTENSIONS):
        folder, stem = "/".join(steps[:-1]) or ".", steps[-1][: steps[-1].rindex(".")].replace("*", ID)
        name_hint = f', and "{stem}" as `image_name` or `mask_name`' if stem != ID and stem.count(ID) == 1 else ""
        raise ValueError(
            "folders, not files (`.` is `root` itself; `image_name` and `mask_name` match file names): "
            f'here "{folder}"{name_hint}'
        )
    return pattern


def _check_name(template: str) -> str:
    if template.count(ID) != 1 or set(template.replace(ID, "")) & set("{}*/\\"):
        raise ValueError(f"a file name with {ID} once, such as {ID}_mask; folders belong in the pattern")
    return template


Pattern = Annotated[str | None, AfterValidator(_check_pattern)]
FileName = Annotated[str, AfterValidator(_check_name)]
FolderName = Annotated[str, Field(pattern=r"^[^/\\*{}]+$")]


class SplitFolders(Options):
    """Folder names that `{split}` matches, in upper or lower case."""

    train: tuple[FolderName, ...] = Field(("train", "training"), description="Folder names of training samples.")
    validation: tuple[FolderName, ...] = Field(
        ("val", "valid", "validation"), description="Folder names of validation samples."
    )
    test: tuple[FolderName, ...] = Field(("test", "testing"), description="Folder names of test samples.")


class Patterns(Layout):
    """Options that locate images, masks and fields of view in any folders."""

    images: Annotated[str, AfterValidator(_check_pattern)] = Field(
        "images", description="Folder of the images, relative to `root`, or a pattern with `*`, `**` or `{split}`."
    )
    masks: Pattern = Field(
        "masks", description="Folder or pattern of the masks; null if there are none and images are only predicted."
    )
    fov: Pattern = Field(None, description="Folder or pattern of the fields of view (white inside, black outside).")
    split_folders: SplitFolders = Field(SplitFolders(), description="Folder names that `{split}` matches.")
    image_name: FileName = Field(ID, description="Template of image file names without extension, such as `{id}_sat`.")
    mask_name: FileName = Field(ID, description="Template of mask file names without extension, such as `{id}_mask`.")
    fov_name: FileName = Field(ID, description="Template of field-of-view file names without extension.")
    prefix_ids: bool = Field(
        False, description="Prefix identifiers with the split, such as `test-01`, if splits use the same names."
    )
    missing_masks: Literal["error", "unlabelled"] = Field(
        "error",
        description="Treat an image without mask as an error, or as an unlabelled sample that is only predicted.",
    )
    pages: Literal["error", "samples"] = Field(
        "error", description="Treat a TIFF file of several pages as an error, or each page as a sample `<id>-p001`."
    )
    merge_masks: bool = Field(
        False,
        description="Merge the object masks in a folder, such as `masks: */masks`, into the mask of one image.",
    )

    @classmethod
    def prefill(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Use the splits defined by the folders by default, if `images` contains {split}."""
        return {"test": "official", "validation": "official", **data} if SPLIT in str(data.get("images")) else data

    @property
    def labelled(self) -> bool:
        """Whether the data set has masks."""
        return self.masks is not None

    def official_splits(self) -> tuple[str, ...]:
        """Return which of validation and test the folders define."""
        return ("test", "validation") if SPLIT in self.images else ()

    def list_samples(self, root: Path, dataset: str) -> list[Sample]:
        """List the samples that match the patterns; see `Layout.list_samples`."""
        require_root(root, dataset, self.layout, self.has_synthetic)
        problems: list[Problem] = []
        prefix = "set `prefix_ids: true` if the splits use the same names, else "
        remedy = prefix + RENAME_REMEDY if SPLIT in self.images else RENAME_REMEDY
        samples = sorted_samples(self.find_samples(root, problems), problems, remedy)
        return sorted_samples(expand_pages(samples, problems), problems) if self.pages == "samples" else samples

    def find_samples(self, root: Path, problems: list[Problem]) -> list[Sample]:
        """List the samples in `root` that match the patterns; append a problem for each unpaired file."""
        roles = self._roles()
        files: dict[str, _Files] = {}
        claimed_paths: set[str] = set()
        for role in sorted(roles.values(), key=lambda role: role.name.is_plain):
            # if roles share a folder, a plain {id} matches the files that no other template matches
            role_files = self._list_role(root, role, claimed_paths if role.name.is_plain else set())
            files[role.option] = role_files
            claimed_paths |= {path for paths in role_files.values() for path in paths if not role.name.is_plain}
            if role.kind != "mask" or not self.merge_masks:
                paths_by_id = ((self._identifier(key), paths) for key, paths in role_files.items())
                hint = f"{RENAME_REMEDY}, or make the pattern or the name more specific"
                problems += duplicate_problems(paths_by_id, f"files of one role ({role.kind})", hint)
        images = {key: paths[0] for key, paths in files["images"].items()}
        if not images:  # without images, unpaired masks are no further problem
            problems.append(self._no_images_problem(root, roles["images"]))
            return []
        masks, fovs = (
            self._pair(images, files[option], roles[option], root, problems) if option in roles else {}
            for option in ("masks", "fov")
        )
        return [
            Sample(
                id=self._identifier(key),
                image=path,
                mask=masks[key][0] if key in masks else None,
                more_masks=tuple(masks[key][1:]) if key in masks and self.merge_masks else (),
                fov=fovs[key][0] if key in fovs else None,
                official_split=None if key[0] is None else _OFFICIAL_SPLITS[key[0]],
            )
            for key, path in images.items()
        ]

    def _roles(self) -> dict[str, "_Role"]:
        """Return the configured roles of files, by the option with their pattern."""
        options = {
            "images": ("image", self.images, self.image_name),
            "masks": ("mask", self.masks, self.mask_name),
            "fov": ("fov", self.fov, self.fov_name),
        }
        return {
            option: _Role(option, kind, pattern, _NameTemplate(name))
            for option, (kind, pattern, name) in options.items()
            if pattern is not None
        }

    @property
    def _splits(self) -> dict[str, str]:
        """Map from folder name in lower case to split."""
        return {name.lower(): split for split, names in self.split_folders for name in names}

    def _identifier(self, key: _Key) -> str:
        return f"{key[0]}-{key[1]}" if self.prefix_ids and key[0] else key[1]

    def _list_role(self, root: Path, role: "_Role", claimed_paths: set[str]) -> _Files:
        """Find the files of a role, except those claimed by other roles."""
        files: _Files = {}
        for folder in _find_folders(_MatchedFolder(str(root)), _split_steps(role.pattern), self._splits):
            prefix = "-".join((*folder.matched, ""))
            for file in image_files(folder.path):
                name, path = role.name.find(file), os.path.join(folder.path, file)
                if name is not None and path not in claimed_paths:
                    key = (folder.split, as_identifier(prefix[:-1] if self.merge_masks else prefix + name))
                    files.setdefault(key, []).append(path)
        return files

    def _pair(
        self, images: Mapping[_Key, str], files: _Files, role: "_Role", root: Path, problems: list[Problem]
    ) -> _Files:
        """Pair images with the files of a role; append a problem for each unpaired file."""
        shared = SPLIT in self.images and SPLIT not in role.pattern  # one folder for all splits
        paired = {key: files[role_key] for key in images if (role_key := (None, key[1]) if shared else key) in files}
        used_paths = {paths[0] for paths in paired.values()}
        unused = {key: paths[0] for key, paths in files.items() if paths[0] not in used_paths}
        role_location = f"{root / role.pattern} ({role.name.template})"
        splits_without = {split for split, _ in images} - {split for split, _ in paired}
        for split in sorted(splits_without, key=str):
            if role.kind == "mask" and split in ("validation", "test"):
                continue  # masks may be missing for a whole split, but not for some images
            of_split = {key: path for key, path in images.items() if key[0] == split}
            problems.append(self._no_pairs_problem(root, role, split, of_split, files))
            # they have the same cause
            unused = {key: path for key, path in unused.items() if key[0] != split and (paired or not shared)}
        required = role.kind != "mask" or self.missing_masks == "error"
        images_to_pair = {
            key: path for key, path in images.items() if key in paired or (required and key[0] not in splits_without)
        }
        files_by_key = {key: paths[0] for key, paths in paired.items()} | unused
        plain = self.image_name == role.name.template == ID and "*" not in self.images + role.pattern
        problems += pairing_problems(
            images_to_pair,
            files_by_key,
            role_location,
            root / self.images,
            role.kind,
            matching=lambda key: "of that name" if plain else f"with the identifier {key[1]!r}",
            identifier=self._identifier,
        )
        return paired

    def _no_pairs_problem(
        self, root: Path, role: "_Role", split: str | None, images: Mapping[_Key, str], files: _Files
    ) -> Problem:
        """Return the problem that no image of a split has a file of a role, with a template that would pair them."""
        found = f"no {role.kind} for any of {plural(len(images), 'image')}{f' of split {split!r}' if split else ''}"
        remedy = f"correct the pattern or the name, or set it to null if there is no {role.kind}"
        image, image_path = next(iter(images.items()))
        plain = replace(role, name=_NameTemplate(ID))
        same_folder = role.pattern == self.images
        all_files = [
            path
            for paths in self._list_role(root, plain, set() if same_folder else {*images.values()}).values()
            for path in paths
        ]
        image_names, names = {*map(_stem, images.values())}, {*map(_stem, all_files)}
        if not all_files:
            found += f"; {_describe_folder(root, role.pattern, self._splits)}"
        elif (same_folder or not image_names & names) and (templates := suggest_templates(image_names, names)):
            found += f"; there are {_name(image_path)!r} and {_name(all_files[0])!r}"
            options = zip(("image_name", f"{role.option.removesuffix('s')}_name"), templates, strict=True)
            changes = [f'`{option}: "{name}"`' for option, name in options if getattr(self, option) != name]
            remedy = f"set {' and '.join(changes)}" if changes else remedy
        elif key := next((key for key in files if key not in images), None):
            found += f"; images have identifiers such as {image[1]!r}, {role.kind}s such as {key[1]!r}"
            if self.images.count("*") != role.pattern.count("*"):
                remedy = (
                    f"use the same wildcards in `images` and `{role.option}`: the text that they match is part of the "
                    "identifier, and {id} is the rest of it"
                )
        expected = f"a {role.kind} with the identifier of each image in {root / self.images} ({self.image_name})"
        return Problem(f"{root / role.pattern} ({role.name.template})", found, expected, remedy)

    def _no_images_problem(self, root: Path, role: "_Role") -> Problem:
        """Return the problem that no image matches; it lists the names that were found instead."""
        existing = _first_folder(root, role.pattern, self._splits)
        remedy = "correct `images` (a folder below `root`; `.` is `root` itself) or `image_name`"
        split_hint = f" ({SPLIT} is one of {', '.join(sorted(self._splits))})" if SPLIT in role.pattern else ""
        if existing:
            names = sorted(os.listdir(existing))
            listed = ", ".join(names[:5]) or "no files"
            actual = f"no images named {role.name.template}; the folder contains {listed}"
            remedy = conversion_remedy(names) or remedy
        else:
            actual = _describe_folder(root, role.pattern, self._splits)
        return Problem(
            str(root / role.pattern),
            actual + split_hint,
            f"image files with extension {', '.join(IMAGE_EXTENSIONS)}",
            remedy,
        )

    def problems(self, key_path: str, mask_kind: str) -> Iterator[Problem]:
        """List contradictions between options; `key_path` is the path of the data set in the configuration."""
        roles = self._roles()
        for first, second in combinations(roles.values(), 2):
            if (first.pattern, first.name.template) == (second.pattern, second.name.template):
                yield Problem(
                    f"{key_path}.{second.option}",
                    f"the same files as `{first.option}`: {second.pattern!r}, named {second.name.template!r}",
                    "different files",
                    "set another folder, or a name template, such as `mask_name: '{id}_mask'`",
                )
        split_options = [option for option, role in roles.items() if SPLIT in role.pattern]
        if split_options and "images" not in split_options:
            actual = f"no {SPLIT}, while {split_options[0]} has one"
            yield Problem(f"{key_path}.images", actual, f"{SPLIT} in `images` too", "add it")
        if self.prefix_ids and split_options != list(roles):
            missing = ", ".join(f"`{option}`" for option in roles if option not in split_options)
            actual = f"true, while {missing} has no {SPLIT}"
            yield Problem(f"{key_path}.prefix_ids", actual, f"{SPLIT} in every pattern", "remove it")
        folders_path = f"{key_path}.split_folders"
        if "split_folders" in self.model_fields_set and not split_options:
            yield Problem(
                folders_path, f"folder names, while no pattern has {SPLIT}", f"{SPLIT} in `images`", "remove them"
            )
        names = [name.lower() for _, folder_names in self.split_folders for name in folder_names]
        if repeated_names := sorted({name for name in names if names.count(name) > 1}):
            yield Problem(
                folders_path, f"{', '.join(repeated_names)} more than once", "each name once", "remove all but one"
            )


class _NameTemplate:
    """Template of file names with ``{id}``."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.is_plain = template == ID
        self._has_extension = template.lower().endswith(IMAGE_EXTENSIONS)
        prefix, _, suffix = template.partition(ID)
        prefix, suffix = as_identifier(prefix), as_identifier(suffix)
        self._pattern = re.compile(f"{re.escape(prefix)}(.+){re.escape(suffix)}", re.DOTALL)

    def find(self, file_name: str) -> str | None:
        """Return the text that ``{id}`` matches in a file name, or None if the name does not match."""
        text = file_name if self._has_extension else file_name[: file_name.rindex(".")]
        if self.is_plain:
            return text
        match = self._pattern.fullmatch(as_identifier(text))
        return match.group(1) if match else None


@dataclass(frozen=True)
class _Role:
    option: str
    kind: str
    pattern: str
    name: _NameTemplate


@dataclass(frozen=True)
class _MatchedFolder:
    """A folder that matches a pattern, with its split and the texts of the wildcards."""

    path: str
    split: str | None = None
    matched: tuple[str, ...] = ()


def _split_steps(pattern: str) -> list[str]:
    return [step for step in pattern.split("/") if step not in ("", ".")]


def _find_folders(folder: _MatchedFolder, steps: Sequence[str], splits: Mapping[str, str]) -> Iterator[_MatchedFolder]:
    """Yield the folders that match the steps of a pattern."""
    if not steps:
        yield folder
        return
    step, remaining_steps = steps[0], steps[1:]
    if step == "**":
        yield from _find_folders(folder, remaining_steps, splits)
        for name in _subfolders(folder.path):
            if leads_back(os.path.join(folder.path, name)):
                continue
            subfolder = replace(folder, path=os.path.join(folder.path, name), matched=(*folder.matched, name))
            yield from _find_folders(subfolder, steps, splits)
    elif "*" in step or SPLIT in step:
        pattern = _step_pattern(step, splits)
        for name in _subfolders(folder.path):
            if match := pattern.fullmatch(name):
                split = match.groupdict().get("split")
                yield from _find_folders(
                    _MatchedFolder(
                        os.path.join(folder.path, name),
                        folder.split if split is None else splits[split.lower()],
                        folder.matched + tuple(text for key, text in _groups(match) if key != "split"),
                    ),
                    remaining_steps,
                    splits,
                )
    else:
        yield from _find_folders(replace(folder, path=os.path.join(folder.path, step)), remaining_steps, splits)


def _first_folder(root: Path, pattern: str, splits: Mapping[str, str]) -> str | None:
    """Return the first existing folder that matches a pattern, or None."""
    folders = _find_folders(_MatchedFolder(str(root)), _split_steps(pattern), splits)
    return next((folder.path for folder in folders if Path(folder.path).is_dir()), None)


def _describe_folder(root: Path, pattern: str, splits: Mapping[str, str]) -> str:
    """Describe what there is in place of the files of a pattern, for a message."""
    folder = _first_folder(root, pattern, splits)
    names = sorted(name for name in os.listdir(folder or root) if not name.startswith("."))
    listed = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "") or "no files"
    return f"{folder} contains {listed}" if folder else f"no such folder; {root} contains {listed}"


def _name(path: str) -> str:
    return path.rpartition(os.sep)[2]


def _stem(path: str) -> str:
    return stem(_name(path))


def _step_pattern(step: str, splits: Mapping[str, str]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(splits, key=len, reverse=True))) or "(?!)"
    special = {"*": "(.*)", SPLIT: f"(?P<split>(?i:{names}))"}
    return re.compile("".join(special.get(part, re.escape(part)) for part in re.split(r"(\*|\{split\})", step)))


def _groups(match: re.Match[str]) -> Iterator[tuple[str | None, str]]:
    names = {number: name for name, number in match.re.groupindex.items()}
    for number, text in enumerate(match.groups(), start=1):
        yield names.get(number), text


def _subfolders(folder: str) -> list[str]:
    if not Path(folder).is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
