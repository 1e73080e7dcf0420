"""Registry of all layouts."""

from typing import TYPE_CHECKING

from pipeline.core.options import tagged_union
from pipeline.raw.layouts.base import Layout
from pipeline.raw.layouts.drive import Drive
from pipeline.raw.layouts.duts import Duts
from pipeline.raw.layouts.folder import Folder
from pipeline.raw.layouts.shapes import Shapes
from pipeline.raw.layouts.tgs import Tgs

LAYOUTS: tuple[type[Layout], ...] = (Drive, Tgs, Shapes, Duts, Folder)

if TYPE_CHECKING:
    AnyLayout = Layout
else:
    AnyLayout = tagged_union(LAYOUTS, "layout")
