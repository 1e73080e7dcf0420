"""Mirror samples left and right, top and bottom."""

from pipeline.training.augment.planes import Draws, Planes, where


class Mirror:
    """Mirror each sample with probability 1/2.

    Parameters
    ----------
    flip : {'horizontal', 'vertical', 'both'}
    """

    def __init__(self, flip: str) -> None:
        self.axes = [axis for name, axis in (("horizontal", -1), ("vertical", -2)) if flip in (name, "both")]

    def __call__(self, planes: Planes, draws: Draws) -> Planes:
        """Return the planes, some samples mirrored."""
        for axis in self.axes:
            chosen = draws.uniform() < 0.5
            planes = {key: where(chosen, plane.flip(axis), plane) for key, plane in planes.items()}
        return planes
