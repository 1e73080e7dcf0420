"""Change brightness, contrast and gamma of images."""

import torch

from pipeline.training.augment.planes import Draws, Planes


class Tint:
    """Change the values of each image within its own range.

    Parameters
    ----------
    brightness : float
        Share of the range, uniform in plus or minus, added.
    contrast : float
        Distances from the mean are multiplied by 1 plus or minus up to this.
    gamma : (float, float)
        Exponent of the image brought to [0, 1] by its range, uniform in its logarithm.
    """

    def __init__(self, brightness: float, contrast: float, gamma: tuple[float, float]) -> None:
        self.brightness, self.contrast, self.gamma = brightness, contrast, gamma

    def __call__(self, planes: Planes, draws: Draws) -> Planes:
        """Return the planes with another image."""
        return {**planes, "image": self._tint(planes["image"], draws)}

    def _tint(self, image: torch.Tensor, draws: Draws) -> torch.Tensor:
        gamma = draws.log_uniform(self.gamma)
        contrast = 1.0 + draws.symmetric(self.contrast)
        brightness = draws.symmetric(self.brightness)
        gamma, contrast, brightness = (
            value.to(image.device)[:, None, None, None] for value in (gamma, contrast, brightness)
        )
        low = image.amin(dim=(1, 2, 3), keepdim=True)
        span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
        tinted = ((image - low) / span).clamp(0.0, 1.0)
        if self.gamma != (1.0, 1.0):
            tinted = tinted**gamma
        mean = tinted.mean(dim=(1, 2, 3), keepdim=True)
        return ((tinted - mean) * contrast + mean + brightness) * span + low
