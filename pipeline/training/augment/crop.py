"""Cut a part out of each sample, at a random place."""

import torch

from pipeline.training.augment.planes import Draws, Planes


class Crop:
    """Cut out a part of the given size.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, planes: Planes, draws: Draws) -> Planes:
        """Return the parts; samples of that very size stay as they are."""
        height, width = planes["image"].shape[-2:]
        rows, columns = self.size
        if (rows, columns) == (height, width):
            return planes
        tops, lefts = draws.below(height - rows + 1).tolist(), draws.below(width - columns + 1).tolist()
        cut: dict[str, torch.Tensor] = {}
        for name, plane in planes.items():
            cut[name] = plane.new_empty((len(plane), plane.shape[1], rows, columns))
            for n, (top, left) in enumerate(zip(tops, lefts, strict=True)):
                cut[name][n] = plane[n, :, top : top + rows, left : left + columns]
        return cut
