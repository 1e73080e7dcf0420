"""Turn samples by right angles."""

from pipeline.training.augment.planes import Draws, Planes, where


class Turns:
    """Turn by 0, 90, 180 or 270 degrees; only by 0 or 180 where samples are not square."""

    def __init__(self, turns: bool) -> None:
        self.turns = turns

    def __call__(self, planes: Planes, draws: Draws) -> Planes:
        """Return the planes, each sample turned by its own angle."""
        rows, columns = planes["image"].shape[-2:]
        quarters = draws.below(4)
        if rows != columns:
            quarters = quarters // 2 * 2
        for number in (1, 2, 3):
            chosen = quarters == number
            if chosen.any():
                planes = {key: where(chosen, plane.rot90(number, (-2, -1)), plane) for key, plane in planes.items()}
        return planes
