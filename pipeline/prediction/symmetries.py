"""Test-time augmentation: the mean over the mirror images and rotations of an image."""

from collections.abc import Iterator, Sequence

import torch

from pipeline.prediction.batches import Forward, PixelLimit

_MIRRORS = tuple((quarter_turns, mirrored) for quarter_turns in (0, 2) for mirrored in (False, True))
_SQUARE = tuple((quarter_turns, mirrored) for quarter_turns in range(4) for mirrored in (False, True))
SYMMETRIES: dict[str, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "horizontal": ((0, False), (0, True)),
    "flips": _MIRRORS,
    "rot90": _SQUARE,
}
"""Views by name, as quarter turns and whether the image is mirrored first: the image itself; its mirror image
too; also the vertical one, and the rotation by 180 degrees; all eight symmetries of the square."""


def average_views(forward: Forward, name: str, limit: PixelLimit) -> Forward:
    """Return a function that averages a network's output over several views of an image, each rotated back.

    Views of one shape are one batch if it has no more pixels than the limit; the sum has the same order in any case.

    Parameters
    ----------
    forward : callable
        Maps (N, C, H, W) to (N, K, h, w); with ``'rot90'`` also for H and W swapped.
    name : {'none', 'horizontal', 'flips', 'rot90'}
    limit : PixelLimit
    """
    views = SYMMETRIES[name]
    if len(views) == 1:
        return forward

    def rotate_back(output: torch.Tensor, quarter_turns: int, mirrored: bool) -> torch.Tensor:
        output = torch.rot90(output, -quarter_turns, (-2, -1))
        return output.flip(-1) if mirrored else output

    def mean(image: torch.Tensor) -> torch.Tensor:
        total, next_view = torch.zeros((), device=image.device), 0
        waiting: dict[int, torch.Tensor] = {}
        at_once = max(1, limit.batch(*image.shape[-2:]) // len(image))
        for group in _groups(views, image.shape[-2] == image.shape[-1], at_once):
            stacked = [
                torch.rot90(image.flip(-1) if views[index][1] else image, views[index][0], (-2, -1)) for index in group
            ]
            outputs = forward(torch.cat(stacked)).chunk(len(group))
            waiting |= {index: rotate_back(output, *views[index]) for index, output in zip(group, outputs, strict=True)}
            while next_view in waiting:
                total = total + waiting.pop(next_view)
                next_view += 1
        return total / len(views)

    return mean


def _groups(views: Sequence[tuple[int, bool]], square: bool, at_once: int) -> Iterator[list[int]]:
    """Yield the indices of views that are one batch; views rotated by 90 degrees have another shape if not square."""
    indices = list(range(len(views)))
    shapes = [indices]
    if not square and at_once > 1:  # single views stay in order, so that no output has to wait
        shapes = [[index for index in indices if views[index][0] % 2 == turned] for turned in (0, 1)]
    for shape in shapes:
        yield from (shape[start : start + at_once] for start in range(0, len(shape), at_once))
