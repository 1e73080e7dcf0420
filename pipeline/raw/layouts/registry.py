"""Names of layouts and their modules: no import, so that a name can be looked up without reading pictures."""

LAYOUTS = {name: f"pipeline.raw.layouts.{name}" for name in ("drive", "tgs", "shapes", "duts", "folder")}
"""Layout name to its module: `list_samples` gives the samples, `describe` says what the masks mean."""
