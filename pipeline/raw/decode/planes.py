"""What planes and channels a TIFF file holds according to its description: some programs write a stack as one page."""

import json
import math
import re

_IMAGEJ_BY_TIFFFILE, _OME_BY_TIFFFILE = "ImageJ=1.11a", 'Creator="tifffile.py'
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_MAX_DIGITS = 9  # a longer number is no count, and Python refuses to read or print the longest
_OME_SIZE = re.compile(r"\bSize([ZCT])\s*=\s*[\"'](\d{1,9})[\"']")


def described_planes(description: str, page_values: int, samples: int) -> tuple[int, str]:
    """Return the number of planes that the description of the first page declares, and who wrote it; 0 if none is.

    Parameters
    ----------
    description : str
        Tag ImageDescription: of ImageJ, of tifffile (JSON), or OME-XML.
    page_values : int
        Height x width x samples per pixel of the page.
    samples : int
        Samples per pixel.
    """
    text = description.strip().strip("\0")
    if text.startswith("ImageJ="):
        return _imagej_planes(text, samples), "ImageJ"
    if "<OME" in text[:4000] or "<Pixels" in text:
        return _ome_planes(text, samples), "OME-XML"
    if text.startswith("{"):
        return _shaped_planes(text, page_values), "tifffile"
    return 0, ""


def described_channels(description: str, samples: int) -> int:
    """Return how many channels of an image are pages of their own, according to its description; 1 if none are.

    Parameters
    ----------
    description : str
        See `described_planes`.
    samples : int
        Samples per pixel; if there are several, they are the channels.
    """
    text = description.strip().strip("\0")
    if samples != 1:
        return 1
    if text.startswith("ImageJ="):
        # tifffile calls the first axis of any array channels, unless it is told otherwise
        unsure = text.startswith(_IMAGEJ_BY_TIFFFILE) and "mode=grayscale" in text
        return 1 if unsure else _imagej_numbers(text).get("channels", 1)
    if "<OME" in text[:4000] or "<Pixels" in text:
        sizes = (dict(_OME_SIZE.findall(tag)) for tag in _OME_PIXELS.findall(text))
        return 1 if _OME_BY_TIFFFILE in text else max((int(size.get("C", 1)) for size in sizes), default=1)
    if text.startswith("{"):
        try:
            content = json.loads(text)
            return int(dict(zip(content["axes"], content["shape"], strict=True)).get("C", 1))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return 1
    return 1


def _imagej_numbers(text: str) -> dict[str, int]:
    lines = (line.partition("=") for line in text.splitlines())
    numbers = ((key.strip(), value.strip()) for key, _, value in lines)
    return {key: int(value) for key, value in numbers if value.isdecimal() and len(value) <= _MAX_DIGITS}


def _imagej_planes(text: str, samples: int) -> int:
    numbers = _imagej_numbers(text)
    axes = [numbers.get(key, 1) for key in ("channels", "slices", "frames")]
    return max(numbers.get("images", 1), math.prod(axes) if samples == 1 else 1)


def _ome_planes(text: str, samples: int) -> int:
    """Count the planes of all images; the files of a set declare those of the others as well, and hold one or more."""
    if len(set(re.findall(r"\bFileName\s*=\s*[\"']([^\"']*)[\"']", text))) > 1:
        return 0
    planes = 0
    for tag in _OME_PIXELS.findall(text):
        sizes = {axis: int(size) for axis, size in _OME_SIZE.findall(tag)}
        planes += sizes.get("Z", 1) * sizes.get("T", 1) * math.ceil(sizes.get("C", 1) / samples)
    return planes


def _shaped_planes(text: str, page_values: int) -> int:
    try:
        shape = json.loads(text).get("shape", ())
        planes = math.prod(map(int, shape)) // page_values
        return planes if planes < 10**_MAX_DIGITS else 0
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0
