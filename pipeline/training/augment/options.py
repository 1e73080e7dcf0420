"""What a configuration says of augmentation, and which step does each of it. No import of torch."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from pipeline.core.options import NUMBER, Options, Rate

Degrees = Annotated[float, Field(ge=0, le=180, description="Degrees, uniform in plus or minus"), NUMBER]


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("[lowest, highest], the lowest first")
    return limits


Range = Annotated[tuple[Rate, Rate], AfterValidator(_rising)]


class Elastic(Options):
    """Smooth random deformation (U-Net paper): a coarse grid of displacements, interpolated bicubically."""

    grid: Annotated[int, Field(ge=2, le=16), NUMBER] = 3
    sigma: Annotated[float, Field(gt=0, le=200, description="Pixels"), NUMBER] = 10.0


class Augment(Options):
    """Random changes of training samples, image and mask together."""

    # by default nothing is done; only what is done stands in the plain form: an option more leaves all trainings alone

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    rot90: bool = Field(
        False, description="Right-angle rotations; only by 180 degrees where the samples are not square"
    )
    rotate: Degrees = 0.0
    shear: Annotated[float, Field(ge=0, le=60, description="Degrees, uniform in plus or minus"), NUMBER] = 0.0
    scale: Range = Field((1.0, 1.0), description="[lowest, highest] magnification")
    shift: Annotated[float, Field(ge=0, le=1, description="Share of height and width"), NUMBER] = 0.0
    elastic: Elastic | None = None
    brightness: Annotated[float, Field(ge=0, le=1, description="Share of the image's range"), NUMBER] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.0
    gamma: Range = Field((1.0, 1.0), description="[lowest, highest] exponent")

    @model_serializer(mode="wrap")
    def _without_what_is_not_done(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if self._does(name)}

    def _does(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def steps(self) -> list["Step"]:
        """Return the steps that have something to do, in their order."""
        return [step for step in STEPS if any(map(self._does, step.options))]

    def modules(self) -> set[str]:
        """Name the modules of these steps."""
        return {step.function.rpartition(".")[0] for step in self.steps()}


class Step(NamedTuple):
    """A step of augmentation.

    Parameters
    ----------
    function : str
        Module and name of a function that takes `Planes` and `BatchRng` (`pipeline.training.augment.batch_rng`) and
        the options as keyword arguments, and returns changed `Planes`.
    options : tuple of str
        Fields of `Augment`. Where all of them have their defaults, there is nothing to do.
    crops : bool
        Whether it cuts out the crop itself, in the same resampling: it takes ``crop`` as well.
    """

    function: str
    options: tuple[str, ...]
    crops: bool = False


STEPS = (
    Step("pipeline.training.augment.transforms.warp", ("rotate", "shear", "scale", "shift", "elastic"), crops=True),
    Step("pipeline.training.augment.transforms.mirror", ("flip",)),
    Step("pipeline.training.augment.transforms.rot90", ("rot90",)),
    Step("pipeline.training.augment.transforms.tint", ("brightness", "contrast", "gamma")),
)
"""In the order in which they are done."""
