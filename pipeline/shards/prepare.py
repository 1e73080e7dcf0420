"""Prepare a sample from raw files: decode, resize, compute the normalization."""

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import RawDataError
from pipeline.raw.dataset import RawDataset
from pipeline.raw.decode.image import full_range
from pipeline.raw.digests import sample_digest
from pipeline.raw.inspect import read_sample, storage_problem
from pipeline.raw.recipes import Storage, StorageType
from pipeline.raw.samples import Sample
from pipeline.raw.value_range import ImageValues, image_values, narrow_range, value_histograms
from pipeline.shards.masks import resize_mask
from pipeline.shards.recipes import Normalize, Preparation


@dataclass(frozen=True)
class PreparedSample:
    """A sample at its shard size, as stored in a shard.

    Parameters
    ----------
    stored : (C, H, W) array of float16, float32 or uint8
        ``image = stored * scale + offset``.
    scale, offset : (C,) array of float32
        1 and 0 if the normalized image is stored.
    mask : (H, W) array of uint8, optional
        Class indices, `VOID` for ignored pixels; or a soft mask: 255 is probability 1.
    fov : (H, W) array of uint8, optional
        1 inside the field of view, 0 outside.
    original_size : (int, int)
        Height and width of the raw image.
    values : ImageValues
        Type and normalized values of the image.
    narrow : str, optional
        Why the image is almost constant for the network; see `pipeline.raw.value_range.narrow_range`.
    orientations : str, optional
        How image and masks are turned differently by their orientation tags; see `Decoded`.
    digest : str
        SHA-256 of names and bytes of the files of the sample (for stacks, of its page) and of its values in shared
        tables; see `pipeline.raw.digests.sample_digest`.
    """

    sample: Sample
    stored: NDArray[Any]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    mask: NDArray[np.uint8] | None
    fov: NDArray[np.uint8] | None
    original_size: tuple[int, int]
    values: ImageValues
    narrow: str | None
    orientations: str | None
    digest: str


def resize_image(pixels: NDArray[Any], height: int, width: int, interpolation: str = "area") -> NDArray[Any]:
    """Resize an image.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) array of uint8, uint16 or float32
    height, width : int
        New size in pixels.
    interpolation : {'area', 'linear'}
        ``'area'`` averages over the source pixels along an axis that shrinks (antialiasing) and interpolates linearly
        along one that grows; ``'linear'`` always interpolates linearly, like the default of OpenCV.

    Returns
    -------
    (height, width) or (height, width, C) array of the same type
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    resized = pixels
    if interpolation == "area":  # if one axis grows and one shrinks, OpenCV would interpolate both linearly
        shrunk_size = (min(width, pixels.shape[1]), min(height, pixels.shape[0]))
        if shrunk_size != pixels.shape[1::-1]:
            resized = cv2.resize(pixels, shrunk_size, interpolation=cv2.INTER_AREA)
    if resized.shape[:2] != (height, width):
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized).reshape((height, width, *pixels.shape[2:]))


def normalization(pixels: NDArray[Any], normalize: Normalize) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute scale and offset of ``image = pixels * scale + offset``.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    normalize : Normalize
        Its method is one of ``minmax`` (minimum of the image to 0, maximum to 1, over all channels together; a blank
        image gives zeros), ``unit`` (full range of the type to [0, 1]), ``symmetric`` (full range to [-1, 1]),
        ``standard`` (``unit``, then ``(x - mean) / std`` for each channel).

    Returns
    -------
    scale, offset : (C,) array of float32

    Raises
    ------
    ValueError
        If a float image has a method that uses the full range of the type, or the number of means or stds is wrong.
    """
    channels = pixels.shape[2]
    method = normalize.method
    if method == "minmax":
        low, high = float(pixels.min()), float(pixels.max())
        scale = np.full(channels, 0.0 if high == low else 1.0 / (high - low))
        return scale.astype(np.float32), (-low * scale).astype(np.float32)
    if pixels.dtype == np.float32:
        raise ValueError(f"float pixels have no full range, which `normalize: {method}` needs")
    full_scale = float(full_range(pixels))
    if method == "unit":
        scale, offset = np.full(channels, 1.0 / full_scale), np.zeros(channels)
    elif method == "symmetric":
        scale, offset = np.full(channels, 2.0 / full_scale), np.full(channels, -1.0)
    else:
        mean, std = np.asarray(normalize.mean, dtype=float), np.asarray(normalize.std, dtype=float)
        if mean.shape != (channels,) or std.shape != (channels,):
            raise ValueError(f"{channels} channels, but `mean` has {mean.size} values and `std` has {std.size}")
        scale, offset = 1.0 / (full_scale * std), -mean / std
    return scale.astype(np.float32), offset.astype(np.float32)


def storage_type(pixels: NDArray[Any], storage: Storage) -> StorageType:
    """Return the type that an image is stored in; ``'auto'`` is a byte for 8-bit images, float32 for all others.

    Both are exact: images of 8 bits are resized in 8 bits, and their pixels are stored with the scale and offset of the
    normalization. Values of 16 bits and floats need more than the 11 bits of float16.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    """
    if storage != "auto":
        return storage
    return "uint8" if pixels.dtype == np.uint8 else "float32"


def encode(
    pixels: NDArray[Any], scale: NDArray[np.float32], offset: NDArray[np.float32], storage: StorageType
) -> NDArray[Any]:
    """Return the (C, H, W) array to store for (H, W, C) pixels.

    Parameters
    ----------
    pixels : (H, W, C) array of uint8, uint16 or float32
    scale, offset : (C,) array of float32
    storage : {'float16', 'float32', 'uint8'}
        ``'uint8'`` stores the pixels; the others store ``pixels * scale + offset``, computed in float32.

    Raises
    ------
    ValueError
        If the type cannot hold the values.
    """
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    if storage == "uint8":
        return planes
    if pixels.dtype != np.uint8:
        image = planes * scale[:, None, None] + offset[:, None, None]
        if np.abs(image).max() > np.finfo(storage).max:
            raise ValueError(f"values up to {np.abs(image).max():.3g}, which {storage} cannot hold")
        return np.asarray(image.astype(storage))
    # a lookup table of 256 values is ten times as fast and gives the same result
    values = np.arange(256, dtype=np.uint8)[None] * scale[:, None] + offset[:, None]
    with np.errstate(over="ignore"):
        tables = values.astype(storage)
    if not np.isfinite(tables).all():
        raise ValueError(f"values up to {np.abs(values).max():.3g}, which {storage} cannot hold")
    stored = np.empty(planes.shape, dtype=storage)
    lookup_type = "uint16" if storage == "float16" else storage  # OpenCV has no float16, but can copy 16-bit values
    for plane, table, target in zip(planes, tables.view(lookup_type), stored.view(lookup_type), strict=True):
        cv2.LUT(plane, table, dst=target)
    return stored


def prepare(dataset: RawDataset, sample: Sample, preparation: Preparation) -> PreparedSample:
    """Decode, check and resize one sample.

    Parameters
    ----------
    dataset : RawDataset
        Data set of the sample, with its classes.

    Raises
    ------
    RawDataError
        Lists all problems of the files of this sample.
    """
    decoded = read_sample(dataset, sample, preparation.channels)
    pixels, mask, fov = decoded.pixels, decoded.mask, decoded.fov
    native_size = (int(pixels.shape[0]), int(pixels.shape[1]))
    if problem := storage_problem(sample, pixels, preparation.storage, preparation.normalize.method):
        raise RawDataError(problem)
    height, width = preparation.fixed_size or native_size
    resized = resize_image(pixels, height, width, preparation.interpolation)
    try:
        scale, offset = normalization(resized, preparation.normalize)
        storage = storage_type(resized, preparation.storage)
        stored = encode(resized, scale, offset, storage)
    except ValueError as error:
        expected = "a normalization that fits the image"
        raise RawDataError(sample.image, str(error), expected, "change `normalize`") from error
    method = preparation.normalize.method
    histograms = value_histograms(resized)
    values = image_values(resized, scale, offset, method, histograms)
    narrow = narrow_range(resized, method, histograms)
    if storage != "uint8":  # the normalized image is stored
        scale, offset = np.ones_like(scale), np.zeros_like(offset)
    if mask is not None and dataset.mask_kind == "soft":  # probabilities are interpolated like images
        mask = resize_image(mask, height, width, preparation.interpolation)
    elif mask is not None:
        mask = resize_mask(mask, height, width, preparation.mask_resize)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in decoded.contents.items()}
    return PreparedSample(
        sample=sample,
        stored=stored,
        scale=scale,
        offset=offset,
        mask=mask,
        fov=None if fov is None else resize_mask(fov, height, width, preparation.mask_resize),
        original_size=native_size,
        values=values,
        narrow=narrow,
        orientations=decoded.orientations,
        digest=sample_digest(sample, sample.files, digests),
    )
