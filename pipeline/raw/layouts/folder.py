"""Layout of any folders of images and masks: what mask pixels mean, beside where the files lie."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from pipeline.core.counts import VOID
from pipeline.core.errors import Problem
from pipeline.core.options import NAME, NUMBER
from pipeline.raw.decode.labels import MAX_CLASSES, LabelMap, Labels
from pipeline.raw.decode.palette import Colour, Key, class_colours, overlaps, parse_colour, parse_key, show_key
from pipeline.raw.layouts.patterns import Patterns

BACKGROUND = "background"


def _normal_keys(labels: object) -> object:
    """Write every key of `labels` in one way; say all that cannot be one."""
    if not isinstance(labels, Mapping):
        return labels
    wrong, normal = [], {}
    for key, name in labels.items():
        try:
            text = show_key(parse_key(key))
        except ValueError as error:
            wrong.append(str(error))
            continue
        if text in normal:
            wrong.append(f"{text} stands twice")
        normal[text] = name
    if wrong:
        raise ValueError("; ".join(wrong))
    return normal


ClassName = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$")]
LabelKey = Annotated[int | str, BeforeValidator(lambda said: show_key(parse_key(said)))]
ColourText = Annotated[str, BeforeValidator(lambda said: show_key(parse_colour(said)))]


class Folder(Patterns):
    """Any folders of images and masks, told by patterns.

    In the path of a folder, * stands for any text within one name, ** for any folders in between, {split} for the
    names of split_folders. A sample is called what the wildcards and {id} stood for, joined by '-'. Where `images` has
    {split}, test and validation samples are those that the folders name so, unless something else is said.
    """

    defaults: ClassVar = {"normalize": "unit", "test": {"rule": "fraction", "fraction": 0.2}}
    presentation: ClassVar = ("colours",)

    layout: Literal["folder"]
    labels: Annotated[dict[str, ClassName], Field(min_length=1), BeforeValidator(_normal_keys)] | None = Field(
        None,
        description='Grey value 0..255 or colour ("#80ff00" or "128,255,0") of mask pixels to class name; '
        "without it, 0 is background and 255 is foreground",
    )
    classes: tuple[ClassName, ...] | None = Field(
        None, description="Class names in order, the background first; else as they appear in labels"
    )
    colours: dict[str, ColourText] = Field({}, description='Class name to the colour it is shown in, such as "#ff8000"')
    tolerance: Annotated[
        int, Field(ge=0, le=127, description="How far each channel of a mask pixel may be from its label"), NUMBER
    ] = 0
    ignore: tuple[LabelKey, ...] = Field((), description="Grey values and colours of mask pixels that do not count")
    inverted: bool = Field(False, description="Whether the two classes change places: white is background")

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, background first: as said, else in the order of `labels`."""
        if self.classes is not None:
            return self.classes
        if self.labels is None:
            return (BACKGROUND, "foreground")
        return tuple(sorted(dict.fromkeys(self.labels.values()), key=lambda name: name != BACKGROUND))

    def as_source(self, presentation: bool) -> Self:
        """Return the same with its classes: their order may be that of `labels`, which plain data does not keep."""
        return super().as_source(presentation).changed(classes=self.class_names())

    def describe(self) -> Labels:
        """Say what the masks mean: the colours of classes are those that are given, else those of `labels`."""
        classes = self.class_names()
        keys = {parse_key(text): name for text, name in self._labels().items()}
        indices = {name: index for index, name in enumerate(classes)}
        meaning = {key: indices[name] for key, name in keys.items()}
        ignored = {parse_key(text): VOID for text in self.ignore}
        colours: dict[str, Colour] = {name: parse_colour(text) for name, text in self.colours.items()}
        for key, name in keys.items():
            if not isinstance(key, int):
                colours.setdefault(name, key)
        return Labels(
            classes,
            class_colours(classes, colours),
            LabelMap({**meaning, **ignored}, tolerance=self.tolerance, inverted=self.inverted, editable=True),
        )

    def _labels(self) -> dict[str, str]:
        if self.labels is not None:
            return self.labels
        return dict(zip(("0", "255"), self.class_names(), strict=False))

    def problems(self, where: str, mask_kind: str) -> Iterator[Problem]:
        """List what is right in itself and wrong together; `where` is the path of the data set in the file."""
        yield from super().problems(where, mask_kind)
        if self.merge_masks:
            yield from self._merge_problems(where, mask_kind)
        yield from self._class_problems(where, mask_kind)
        yield from self._label_problems(where, mask_kind)

    def _merge_problems(self, where: str, mask_kind: str) -> Iterator[Problem]:
        if self.masks is None or not all("*" in (pattern or "*") for pattern in (self.images, self.masks, self.fov)):
            yield Problem(
                f"{where}.merge_masks",
                "true, without a wildcard in every pattern",
                "a folder of masks for each image",
                'say for instance `images: "*/images"` and `masks: "*/masks"`',
            )
        several = len(self.class_names()) > 2
        if mask_kind == "soft" or several:
            one_class = "give all foreground values one class under `labels`" if several else "set `mask_kind: index`"
            yield Problem(
                f"{where}.merge_masks",
                f"true, for {f'{len(self.class_names())} classes' if several else 'soft masks'}",
                "masks of single objects, of one foreground class: where others overlap, nothing says which one counts",
                f"{one_class}, or join the masks of each image into one file and remove `merge_masks`",
            )

    def _class_problems(self, where: str, mask_kind: str) -> Iterator[Problem]:
        names = self.class_names()
        lower = [name.lower() for name in names]
        named = f"{where}.{'labels' if self.classes is None else 'classes'}"
        if not 2 <= len(names) <= MAX_CLASSES:
            yield Problem(
                named,
                f"{len(names)} classes",
                f"2 to {MAX_CLASSES}: background and at least one other",
                "name the background too, or put values that do not count under `ignore`",
            )
        if len(names) > 2 and "mean" in lower:
            expected = "another name: tables of scores call the mean over the foreground classes so"
            yield Problem(named, f"a class {names[lower.index('mean')]!r}", expected, "rename it")
        if len(set(lower)) < len(lower):
            expected = "names that differ by more than upper and lower case"
            yield Problem(named, f"names that repeat among {', '.join(names)}", expected, "rename all but one")
        if self.classes is not None and self.labels is not None and {*self.classes} != {*self.labels.values()}:
            found = f"{', '.join(self.classes)}, while `labels` has {', '.join(dict.fromkeys(self.labels.values()))}"
            yield Problem(f"{where}.classes", found, "the same names in both", "correct one of them")
        if self.classes is not None and self.labels is None and mask_kind == "index" and len(names) > 2:
            found = f"nothing, for {len(names)} classes"
            yield Problem(f"{where}.labels", found, "what each class looks like", "add `labels`")
        if self.inverted and len(names) != 2:
            yield Problem(f"{where}.inverted", f"true, for {len(names)} classes", "two classes", "remove it")
        if unknown := [name for name in self.colours if name not in names]:
            found, expected = f"unknown: {', '.join(unknown)}", f"classes: {', '.join(names)}"
            yield Problem(f"{where}.colours", found, expected, "correct the name")
        if len(set(self.colours.values())) < len(self.colours):
            yield Problem(f"{where}.colours", "one colour for two classes", "a colour for each", "choose another one")

    def _label_problems(self, where: str, mask_kind: str) -> Iterator[Problem]:
        if mask_kind == "soft":
            for said in ("labels", "ignore", "tolerance"):
                if getattr(self, said):
                    yield Problem(
                        f"{where}.{said}",
                        "what pixels of classes look like, with `mask_kind: soft`",
                        "only `classes` and `inverted`: pixels of soft masks are probabilities",
                        "remove it, or set `mask_kind: index`",
                    )
            return
        meaning: dict[Key, str] = {parse_key(text): name for text, name in self._labels().items()}
        ignored = dict.fromkeys(map(parse_key, self.ignore), "ignore")
        for key in sorted(ignored.keys() & meaning.keys(), key=show_key):
            found = f"{show_key(key)}, which `labels` calls {meaning[key]}"
            yield Problem(f"{where}.ignore", found, "values in one of the two", "remove it from one of them")
        classes: dict[Key, object] = {key: ("class", name) for key, name in meaning.items()}
        for one, other in overlaps({**ignored, **classes}, self.tolerance):
            found = f"{self.tolerance}, with which {show_key(one)} and {show_key(other)} overlap"
            expected = "labels and ignored values apart by more than twice the tolerance"
            yield Problem(f"{where}.tolerance", found, expected, "lower it")
