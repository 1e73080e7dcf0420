"""Settings of augmentation, and the transforms that apply them. Does not import torch."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from pipeline.core.options import NUMBER, Options, Rate

Degrees = Annotated[float, Field(ge=0, le=180, description="Largest rotation to either side in degrees."), NUMBER]


def _check_order(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("[lowest, highest], the lowest first")
    return limits


Range = Annotated[tuple[Rate, Rate], AfterValidator(_check_order)]


class Elastic(Options):
    """Smooth random deformation (U-Net paper): a coarse grid of displacements, interpolated bicubically."""

    grid: Annotated[
        int, Field(ge=2, le=16, description="Number of displacement vectors along each side of the grid."), NUMBER
    ] = 3
    sigma: Annotated[
        float, Field(gt=0, le=200, description="Standard deviation of the displacements in pixels."), NUMBER
    ] = 10.0


class Augment(Options):
    """Random changes of training samples, image and mask together."""

    # the defaults change nothing and are not serialized: a new option does not change existing recipes

    flip: Literal["none", "horizontal", "vertical", "both"] = Field(
        "none", description="Axes along which samples are mirrored, each with probability 0.5."
    )
    rot90: bool = Field(
        False, description="Rotate by a random multiple of 90 degrees; of 180 degrees if samples are not square."
    )
    rotate: Degrees = 0.0
    shear: Annotated[float, Field(ge=0, le=60, description="Largest shear to either side in degrees."), NUMBER] = 0.0
    scale: Range = Field((1.0, 1.0), description="Smallest and largest magnification; 1 keeps the size.")
    shift: Annotated[
        float, Field(ge=0, le=1, description="Largest shift to either side as a fraction of height and width."), NUMBER
    ] = 0.0
    elastic: Elastic | None = Field(None, description="Smooth random deformation; `{}` uses its defaults.")
    brightness: Annotated[
        float,
        Field(ge=0, le=1, description="Largest value added or subtracted, as a fraction of the image's value range."),
        NUMBER,
    ] = 0.0
    contrast: Annotated[
        float,
        Field(ge=0, lt=1, description="Largest relative change of the differences from the mean of the image."),
        NUMBER,
    ] = 0.0
    gamma: Range = Field(
        (1.0, 1.0), description="Smallest and largest exponent of the gamma correction; 1 changes nothing."
    )

    @model_serializer(mode="wrap")
    def _omit_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if self._is_active(name)}

    def _is_active(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def steps(self) -> list["Step"]:
        """Return the transforms that have an effect, in order of application."""
        return [step for step in STEPS if any(map(self._is_active, step.options))]

    def modules(self) -> set[str]:
        """Return the modules of these transforms."""
        return {step.function.rpartition(".")[0] for step in self.steps()}


class Step(NamedTuple):
    """A transform, applied as one step of augmentation.

    Parameters
    ----------
    function : str
        Dotted name of a function that takes `BatchRng`, the `Size` of the samples (see
        `pipeline.training.augment.batch_rng`) and the options as keyword arguments, and returns a `Change`.
    options : tuple of str
        Fields of `Augment`. If all have their defaults, the transform is skipped.
    crops : bool
        Whether the transform can also do the random crop; it then takes ``crop`` as well. The first one that is used
        does it.
    """

    function: str
    options: tuple[str, ...]
    crops: bool = False


STEPS = (
    Step("pipeline.training.augment.transforms.warp", ("rotate", "shear", "scale", "shift", "elastic"), crops=True),
    Step("pipeline.training.augment.transforms.place", ("flip", "rot90"), crops=True),
    Step("pipeline.training.augment.transforms.adjust_intensity", ("brightness", "contrast", "gamma")),
)
"""In order of application."""
