"""Mask values (grey values and colours): parsing, formatting, distances, and display colours of classes."""

import colorsys
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

Colour = tuple[int, int, int]

MaskValue = int | Colour
"""Value of a mask pixel: a grey value 0..255, or an RGB colour."""

# Okabe, Ito: Color Universal Design (2008), after black for the background
COLOURS: tuple[Colour, ...] = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)

_GOLDEN_RATIO = 0.6180339887498949  # steps of this fraction of the colour circle spread any number of hues evenly

_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_TRIPLE = re.compile(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*")


def parse_mask_value(text: object) -> MaskValue:
    """Parse a grey value (``255``) or a colour (``"#80ff00"`` or ``"128,255,0"``).

    Raises
    ------
    ValueError
        If the text is neither.
    """
    stripped = str(text).strip()
    if isinstance(text, bool):
        pass
    elif stripped.isascii() and stripped.isdigit() and int(stripped) <= 255:
        return int(stripped)
    elif match := _HEX.fullmatch(stripped):
        red, green, blue = bytes.fromhex(match.group(1))
        return red, green, blue
    elif (match := _TRIPLE.fullmatch(stripped)) and max(map(int, match.groups())) <= 255:
        red, green, blue = map(int, match.groups())
        return red, green, blue
    raise ValueError(f'{text!r} is neither a grey value 0..255 nor a colour such as "#80ff00" or "128,255,0"')


def parse_colour(text: object) -> Colour:
    """Parse a colour, ``"#80ff00"`` or ``"128,255,0"``; raise ValueError for anything else."""
    key = parse_mask_value(text)
    if isinstance(key, int):
        raise ValueError(f'{text!r} is a grey value, not a colour such as "#80ff00"')
    return key


def format_mask_value(key: MaskValue) -> str:
    """Format a grey value or a colour for `parse_mask_value`: ``255`` or ``#80ff00``."""
    return str(key) if isinstance(key, int) else "#{:02x}{:02x}{:02x}".format(*key)


def as_colour(key: MaskValue) -> Colour:
    """Return a mask value as RGB: a grey value has three equal channels."""
    return (key, key, key) if isinstance(key, int) else key


def colour_distance(first: MaskValue, second: MaskValue) -> int:
    """Return the maximum absolute difference over the three channels (Chebyshev distance)."""
    return max(abs(a - b) for a, b in zip(as_colour(first), as_colour(second), strict=True))


def overlapping_values(meaning: Mapping[MaskValue, object], tolerance: int) -> list[tuple[MaskValue, MaskValue]]:
    """List the pairs of mask values of different meaning whose ranges of +-`tolerance` overlap."""
    return [
        (first, second)
        for (first, first_meaning), (second, second_meaning) in itertools.combinations(meaning.items(), 2)
        if first_meaning != second_meaning and colour_distance(first, second) <= 2 * tolerance
    ]


def class_colours(
    classes: Sequence[str], fixed: Mapping[str, Colour] | None = None, *, background: bool = True
) -> tuple[Colour, ...]:
    """Choose a distinct display colour for each class.

    Parameters
    ----------
    classes : sequence of str
    fixed : mapping of str to (int, int, int), optional
        Colours by class. The other classes get those of `COLOURS`, then evenly spread hues.
    background : bool
        Whether the first class is background, which is black.
    """
    fixed = fixed or {}
    used = set(fixed.values())
    free = (colour for colour in itertools.chain(COLOURS[1:], _hues()) if colour not in used)
    colours = []
    for index, name in enumerate(classes):
        if name in fixed:
            colours.append(fixed[name])
        elif background and index == 0 and COLOURS[0] not in used:
            colours.append(COLOURS[0])
        else:
            colours.append(next(free))
    return tuple(colours)


def _hues() -> Iterator[Colour]:
    """Yield evenly spread colours without end, none of them in `COLOURS`."""
    used = set(COLOURS)
    for step in itertools.count():
        saturation, value = ((0.85, 0.9), (0.5, 0.95), (0.9, 0.6))[step % 3]
        red, green, blue = colorsys.hsv_to_rgb(step * _GOLDEN_RATIO % 1, saturation, value)
        colour = (round(red * 255), round(green * 255), round(blue * 255))
        if colour not in used:
            used.add(colour)
            yield colour
