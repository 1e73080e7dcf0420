"""Grey values and colours: how they are written, how far apart they are, which ones classes are shown in."""

import colorsys
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

Colour = tuple[int, int, int]

Key = int | Colour
"""What a mask pixel can be: a grey value 0..255, or a colour in RGB."""

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

_GOLDEN = 0.6180339887498949  # steps of this share of a turn spread hues evenly, however many there are

_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_TRIPLE = re.compile(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*")


def parse_key(text: object) -> Key:
    """Read a grey value (``255``) or a colour (``"#80ff00"`` or ``"128,255,0"``).

    Raises
    ------
    ValueError
        If it is neither.
    """
    said = str(text).strip()
    if isinstance(text, bool):
        pass
    elif said.isascii() and said.isdigit() and int(said) <= 255:
        return int(said)
    elif match := _HEX.fullmatch(said):
        red, green, blue = bytes.fromhex(match.group(1))
        return red, green, blue
    elif (match := _TRIPLE.fullmatch(said)) and max(map(int, match.groups())) <= 255:
        red, green, blue = map(int, match.groups())
        return red, green, blue
    raise ValueError(f'{text!r} is neither a grey value 0..255 nor a colour such as "#80ff00" or "128,255,0"')


def parse_colour(text: object) -> Colour:
    """Read a colour, ``"#80ff00"`` or ``"128,255,0"``; anything else is a ValueError."""
    key = parse_key(text)
    if isinstance(key, int):
        raise ValueError(f'{text!r} is a grey value, not a colour such as "#80ff00"')
    return key


def show_key(key: Key) -> str:
    """Write a grey value or a colour as `parse_key` reads it: ``255`` or ``#80ff00``."""
    return str(key) if isinstance(key, int) else "#{:02x}{:02x}{:02x}".format(*key)


def as_colour(key: Key) -> Colour:
    """Return the colour of a key: a grey value has three equal channels."""
    return (key, key, key) if isinstance(key, int) else key


def distance(one: Key, other: Key) -> int:
    """Return the greatest difference over the three channels."""
    return max(abs(a - b) for a, b in zip(as_colour(one), as_colour(other), strict=True))


def overlaps(meaning: Mapping[Key, object], tolerance: int) -> list[tuple[Key, Key]]:
    """List the pairs of keys of different meaning whose neighbourhoods of `tolerance` share a value."""
    return [
        (one, other)
        for (one, first), (other, second) in itertools.combinations(meaning.items(), 2)
        if first != second and distance(one, other) <= 2 * tolerance
    ]


def class_colours(classes: Sequence[str], given: Mapping[str, Colour] | None = None) -> tuple[Colour, ...]:
    """Choose the colour that each class is shown in.

    Parameters
    ----------
    classes : sequence of str
        Background first.
    given : mapping of str to (int, int, int), optional
        Colours that are settled. The others come from `COLOURS`, then from evenly spread hues; none twice.
    """
    given = given or {}
    taken = set(given.values())
    free = (colour for colour in itertools.chain(COLOURS[1:], _hues()) if colour not in taken)
    chosen = []
    for index, name in enumerate(classes):
        if name in given:
            chosen.append(given[name])
        elif index == 0 and COLOURS[0] not in taken:
            chosen.append(COLOURS[0])
        else:
            chosen.append(next(free))
    return tuple(chosen)


def _hues() -> Iterator[Colour]:
    seen = set(COLOURS)
    for step in itertools.count():
        saturation, value = ((0.85, 0.9), (0.5, 0.95), (0.9, 0.6))[step % 3]
        red, green, blue = colorsys.hsv_to_rgb(step * _GOLDEN % 1, saturation, value)
        colour = (round(red * 255), round(green * 255), round(blue * 255))
        if colour not in seen:
            seen.add(colour)
            yield colour
