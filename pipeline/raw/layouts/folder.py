"""Layout of any folders of images and masks, with labels for the mask values."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from pipeline.core.counts import VOID
from pipeline.core.errors import Problem
from pipeline.core.options import NAME, NUMBER
from pipeline.raw.decode.labels import MAX_CLASSES, LabelMap, Labels
from pipeline.raw.decode.palette import (
    Colour,
    MaskValue,
    class_colours,
    format_mask_value,
    overlapping_values,
    parse_colour,
    parse_mask_value,
)
from pipeline.raw.layouts.patterns import Patterns

BACKGROUND = "background"


def _normalise_keys(labels: object) -> object:
    """Normalise the keys of `labels`, without those that null removes; raise ValueError that lists all invalid keys."""
    if not isinstance(labels, Mapping):
        return labels
    errors, normalised, removed = [], {}, set()
    for key, name in labels.items():
        try:
            text = format_mask_value(parse_mask_value(key))
        except ValueError as error:
            errors.append(str(error))
            continue
        if name is None:
            removed.add(text)
            continue
        if text in normalised:
            errors.append(f"each value once, while {text} is repeated")
        normalised[text] = name
    if errors:
        raise ValueError("; ".join(errors))
    return {text: name for text, name in normalised.items() if text not in removed}


def _yaml_key(text: str) -> str:
    return text if text.isdecimal() else f'"{text}"'


ClassName = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$")]
LabelKey = Annotated[int | str, BeforeValidator(lambda text: format_mask_value(parse_mask_value(text)))]
ColourText = Annotated[str, BeforeValidator(lambda text: format_mask_value(parse_colour(text)))]


class Folder(Patterns):
    """Any folders of images and masks, described by patterns.

    In the path of a folder, * matches any text within one name, ** any number of folders, {split} the names in
    split_folders. The identifier of a sample is the text matched by the wildcards and {id}, joined by '-'. If `images`
    contains {split}, the folders define the test and validation samples by default.
    """

    defaults: ClassVar = {"normalize": "unit", "test": {"rule": "fraction", "fraction": 0.2}}
    presentation: ClassVar = ("colours",)

    layout: Literal["folder"] = Field(description="Layout of the raw files.")
    labels: Annotated[dict[str, ClassName], Field(min_length=1), BeforeValidator(_normalise_keys)] | None = Field(
        None,
        description='Class name of each grey value (0 to 255) or colour ("#80ff00" or "128,255,0") of mask pixels; '
        "by default 0 is background and 255 is foreground.",
    )
    classes: tuple[ClassName, ...] | None = Field(
        None, description="Class names in order, background first; by default the order of `labels`."
    )
    colours: dict[str, ColourText] = Field({}, description='Display colour of each class by name, such as "#ff8000".')
    tolerance: Annotated[
        int,
        Field(
            ge=0,
            le=127,
            description="Largest difference in grey levels, in each channel, of a mask pixel from its label.",
        ),
        NUMBER,
    ] = 0
    ignore: tuple[LabelKey, ...] = Field(
        (), description="Grey values and colours of mask pixels that do not count in training and scores."
    )
    background: Literal["none"] | None = Field(
        None,
        description="`none`, with more than two classes: the first class counts like any other, in means over classes, "
        "Dice losses and renderings; by default it is background.",
    )
    inverted: bool = Field(
        False, description="Swap the two classes, so that white is background; only without `labels`."
    )

    def class_names(self) -> tuple[str, ...]:
        """Return the class names, background first: as configured, else in the order of `labels`."""
        if self.classes is not None:
            return self.classes
        if self.labels is None:
            return (BACKGROUND, "foreground")
        return tuple(sorted(dict.fromkeys(self.labels.values()), key=lambda name: name.lower() != BACKGROUND))

    @property
    def has_background(self) -> bool:
        """Whether the first class is background; see `Layout.has_background`."""
        return self.background is None

    def as_source(self, presentation: bool) -> Self:
        """Set `classes` explicitly, because the order of `labels` is lost when the recipe is stored."""
        return super().as_source(presentation).changed(classes=self.class_names())

    def mask_labels(self) -> Labels:
        """Return the classes and label map; display colours are those configured, else the colours in `labels`."""
        classes = self.class_names()
        keys = {parse_mask_value(text): name for text, name in self._labels().items()}
        indices = {name: index for index, name in enumerate(classes)}
        meaning = {key: indices[name] for key, name in keys.items()}
        ignored = {parse_mask_value(text): VOID for text in self.ignore}
        colours: dict[str, Colour] = {name: parse_colour(text) for name, text in self.colours.items()}
        for key, name in keys.items():
            if not isinstance(key, int):
                colours.setdefault(name, key)
        return Labels(
            classes,
            class_colours(classes, colours, background=self.has_background),
            LabelMap({**meaning, **ignored}, tolerance=self.tolerance, inverted=self.inverted, editable=True),
        )

    def _labels(self) -> dict[str, str]:
        if self.labels is not None:
            return self.labels
        return dict(zip(("0", "255"), self.class_names(), strict=False))

    def problems(self, key_path: str, mask_kind: str) -> Iterator[Problem]:
        """List contradictions between options; `key_path` is the path of the data set in the configuration."""
        yield from super().problems(key_path, mask_kind)
        if self.merge_masks:
            yield from self._merge_problems(key_path, mask_kind)
        yield from self._class_problems(key_path, mask_kind)
        yield from self._label_problems(key_path, mask_kind)

    def _merge_problems(self, key_path: str, mask_kind: str) -> Iterator[Problem]:
        if self.masks is None or not all("*" in (pattern or "*") for pattern in (self.images, self.masks, self.fov)):
            yield Problem(
                f"{key_path}.merge_masks",
                "true, but not every pattern has a wildcard",
                "a folder of masks for each image",
                'set for instance `images: "*/images"` and `masks: "*/masks"`',
            )
        multiclass = len(self.class_names()) > 2
        if mask_kind == "soft" or multiclass:
            one_class = (
                "give all foreground values one class under `labels`" if multiclass else "set `mask_kind: index`"
            )
            yield Problem(
                f"{key_path}.merge_masks",
                f"true, for {f'{len(self.class_names())} classes' if multiclass else 'soft masks'}",
                "masks of single objects of one foreground class: overlapping masks of other kinds are ambiguous",
                f"{one_class}, or combine the masks of each image into one file and remove `merge_masks`",
            )

    def _class_problems(self, key_path: str, mask_kind: str) -> Iterator[Problem]:
        names = self.class_names()
        lower = [name.lower() for name in names]
        path = f"{key_path}.{'labels' if self.classes is None else 'classes'}"
        if not 2 <= len(names) <= MAX_CLASSES:
            yield Problem(
                path,
                f"{len(names)} class{'es' if len(names) != 1 else ''}",
                f"2 to {MAX_CLASSES}: background and at least one other",
                "list the background too, or list values to ignore under `ignore`",
            )
        if len(names) == 2 and not self.has_background:
            actual = f"'none', for two classes ({', '.join(names)})"
            expected = "a background: with two classes, masks and predictions are foreground against background"
            yield Problem(f"{key_path}.background", actual, expected, "remove it")
        if len(names) > 2 and "mean" in lower:
            expected = "another name: tables of scores use it for the mean over the foreground classes"
            yield Problem(path, f"a class {names[lower.index('mean')]!r}", expected, "rename it")
        if self.classes is not None and self.has_background and BACKGROUND in lower[1:]:
            name = names[lower.index(BACKGROUND)]
            actual, expected = f"{name!r} as class {lower.index(BACKGROUND)}", "the background as the first class"
            yield Problem(path, actual, expected, f"put {name} first")
        if len(set(lower)) < len(lower):
            expected = "names that differ in more than upper and lower case"
            yield Problem(path, f"repeated names among {', '.join(names)}", expected, "rename all but one")
        if self.classes is not None and self.labels is not None and {*self.classes} != {*self.labels.values()}:
            actual = f"{', '.join(self.classes)}, while `labels` has {', '.join(dict.fromkeys(self.labels.values()))}"
            yield Problem(f"{key_path}.classes", actual, "the same names in both", "correct one of them")
        if self.classes is not None and self.labels is None and mask_kind == "index" and len(names) > 2:
            actual = f"not set, for {len(names)} classes"
            yield Problem(f"{key_path}.labels", actual, "the mask values of each class", "add `labels`")
        if self.inverted and len(names) != 2:
            yield Problem(f"{key_path}.inverted", f"true, for {len(names)} classes", "two classes", "remove it")
        if self.inverted and len(names) == 2 and self.labels is not None:
            other_name = dict(zip(names, reversed(names), strict=True))
            swapped = ", ".join(f"{_yaml_key(text)}: {other_name[name]}" for text, name in self.labels.items())
            actual, expected = "true beside `labels`", "`labels` alone, which names the class of each value"
            remedy = (
                f"remove `inverted`, and if `labels` has the classes the wrong way round, write `labels: {{{swapped}}}`"
            )
            yield Problem(f"{key_path}.inverted", actual, expected, remedy)
        if unknown := [name for name in self.colours if name not in names]:
            actual, expected = f"unknown: {', '.join(unknown)}", f"classes: {', '.join(names)}"
            yield Problem(f"{key_path}.colours", actual, expected, "correct the name")
        if len(set(self.colours.values())) < len(self.colours):
            yield Problem(
                f"{key_path}.colours", "one colour for two classes", "a colour for each", "choose another one"
            )

    def _label_problems(self, key_path: str, mask_kind: str) -> Iterator[Problem]:
        if mask_kind == "soft":
            for option in ("labels", "ignore", "tolerance"):
                if getattr(self, option):
                    yield Problem(
                        f"{key_path}.{option}",
                        "mask values of classes, with `mask_kind: soft`",
                        "only `classes` and `inverted`: pixels of soft masks are probabilities",
                        "remove it, or set `mask_kind: index`",
                    )
            return
        meaning: dict[MaskValue, str] = {parse_mask_value(text): name for text, name in self._labels().items()}
        ignored = dict.fromkeys(map(parse_mask_value, self.ignore), "ignore")
        for key in sorted(ignored.keys() & meaning.keys(), key=format_mask_value):
            actual = f"{format_mask_value(key)}, which is the class {meaning[key]} in `labels`"
            yield Problem(f"{key_path}.ignore", actual, "each value in one of the two", "remove it from one of them")
        classes: dict[MaskValue, object] = {key: ("class", name) for key, name in meaning.items()}
        for first, second in overlapping_values({**ignored, **classes}, self.tolerance):
            actual = f"{self.tolerance}, so that {format_mask_value(first)} and {format_mask_value(second)} overlap"
            expected = "labels and ignored values that differ by more than twice the tolerance"
            yield Problem(f"{key_path}.tolerance", actual, expected, "lower it")
