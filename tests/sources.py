"""Sources of data sets for tests, said in one line."""

from pipeline.raw.dataset import open_dataset
from pipeline.raw.source import Source


def source(layout, root, options=None, **more):
    """A source as a configuration would say it; `options` are those of the layout."""
    return Source.model_validate({"layout": {"layout": layout, **(options or {})}, "root": str(root), **more})


def opened(name, layout, root, options=None, **more):
    """The data set of such a source, listed."""
    return open_dataset(name, source(layout, root, options, **more))
