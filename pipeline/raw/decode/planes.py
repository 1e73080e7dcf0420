"""How many planes a TIFF file holds according to its descriptions: some programs write a stack as one page."""

import json
import math
import re

_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_OME_SIZE = re.compile(r"\bSize([ZCT])\s*=\s*[\"'](\d+)[\"']")


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


def _imagej_planes(text: str, samples: int) -> int:
    lines = (line.partition("=") for line in text.splitlines())
    numbers = {key.strip(): int(value) for key, _, value in lines if value.strip().isdecimal()}
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
        return math.prod(map(int, shape)) // page_values
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0
