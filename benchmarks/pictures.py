"""Files for people: PNGs by Pillow, imageio and the product; panels by matplotlib and the product.

One thread of one process. The images have 584 x 565 pixels, as those of DRIVE; the files are written to a temporary
folder.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.measure import Case, Variant

HEIGHT, WIDTH = 584, 565
KINDS = ("mask", "probability", "overlay")


class Pictures:
    """All ways; a worker."""

    def prepare(self) -> None:
        import cv2
        import numpy as np

        cv2.setNumThreads(1)
        rng = np.random.default_rng(0)
        field = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), 12)
        field = field / field.std()
        self.predicted = field > 0.7
        self.image = np.clip(120 + 40 * field[..., None] + rng.normal(0, 6, (HEIGHT, WIDTH, 3)), 0, 255).astype(
            np.uint8
        )
        probability = np.clip(128 + 70 * (field - 0.7) + rng.normal(0, 4, field.shape), 0, 255).astype(np.uint8)
        mask = self.predicted * np.uint8(255)
        overlay = self.image.copy()
        overlay[self.predicted] = (200, 40, 40)
        self.pixels = {"mask": mask, "probability": probability, "overlay": overlay}
        self.folder = tempfile.TemporaryDirectory()

    def measure(self, kind: str, way: str, seconds: float) -> dict[str, float]:
        """Write files for some seconds; return their number in a second, and the size of one."""
        path = Path(self.folder.name) / "image.png"
        function: Callable[[Path, Any], object] = getattr(self, way)
        argument = self.pixels.get(kind)
        function(path, argument)
        calls, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds or not calls:
            function(path, argument)
            calls += 1
        return {"": calls / (time.perf_counter() - started), "size": path.stat().st_size / 1e6}

    def pillow(self, path: Path, pixels: Any) -> None:
        from PIL import Image

        Image.fromarray(pixels).save(path)

    def imageio(self, path: Path, pixels: Any) -> None:
        import imageio.v3 as iio

        iio.imwrite(path, pixels)

    def ours(self, path: Path, pixels: Any) -> None:
        from pipeline.images.png import write_png

        write_png(path, pixels)

    def matplotlib_panel(self, path: Path, _: Any) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(ncols=3, figsize=(10, 10))
        for axis, title, pixels in zip(
            axes,
            ("Image", "Original Mask", "Predicted Mask"),
            (self.image, self.pixels["mask"], self.pixels["mask"]),
            strict=True,
        ):
            axis.imshow(pixels)
            axis.set_title(title)
        figure.tight_layout()
        figure.savefig(path)
        pyplot.close(figure)

    def our_panel(self, path: Path, _: Any) -> None:
        import numpy as np

        from pipeline.images.figures import panel
        from pipeline.images.png import write_png

        mask = np.repeat(self.pixels["mask"][:, :, None], 3, axis=2)
        write_png(path, panel([("image", self.image), ("mask", mask), ("prediction", mask)], ""))


def cases(context: Context) -> Iterator[Case]:
    """Yield a case for each kind of file."""
    worker = context.start("benchmarks.pictures:Pictures", {"OMP_NUM_THREADS": "1"})
    worker.call("prepare")
    ways = {"documents": "matplotlib_panel", "ours": "our_panel"}
    todo = [
        (
            f"PNG of a{'n' * (kind == 'overlay')} {kind}",
            kind,
            {"Pillow": "pillow", "imageio": "imageio", "ours": "ours"},
        )
        for kind in KINDS
    ]
    seconds = 0.1 if context.quick else 0.4
    for name, kind, functions in [*todo, ("panel of three images", "", ways)]:
        measure = partial(worker.call, "measure", kind=kind, seconds=seconds)
        variants = [Variant(one, partial(measure, way=way)) for one, way in functions.items()]
        yield Case(name, {"": "images/s", "size": "MB"}, variants)
