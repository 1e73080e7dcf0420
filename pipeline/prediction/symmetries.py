"""Test-time augmentation: the mean over the mirror images and rotations of an image."""

import torch

from pipeline.prediction.tiles import Forward

_MIRRORS = tuple((quarter_turns, mirrored) for quarter_turns in (0, 2) for mirrored in (False, True))
_SQUARE = tuple((quarter_turns, mirrored) for quarter_turns in range(4) for mirrored in (False, True))
SYMMETRIES: dict[str, tuple[tuple[int, bool], ...]] = {"none": ((0, False),), "flips": _MIRRORS, "rot90": _SQUARE}
"""Views by name, as quarter turns and whether the image is mirrored first: the image itself; both mirror images and the
rotation by 180 degrees; all eight symmetries of the square."""


def average_views(forward: Forward, name: str) -> Forward:
    """Return a function that averages a network's output over several views of an image, each rotated back.

    Parameters
    ----------
    forward : callable
        Maps (N, C, H, W) to (N, K, h, w); with ``'rot90'`` also for H and W swapped.
    name : {'none', 'flips', 'rot90'}
    """
    views = SYMMETRIES[name]
    if len(views) == 1:
        return forward

    def mean(image: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for quarter_turns, mirrored in views:
            view = torch.rot90(image.flip(-1) if mirrored else image, quarter_turns, (-2, -1))
            output = torch.rot90(forward(view), -quarter_turns, (-2, -1))
            total = total.to(output.device) + (output.flip(-1) if mirrored else output)
        return total / len(views)

    return mean
