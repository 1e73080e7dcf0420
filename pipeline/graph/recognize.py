"""Which result stands at a path."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline.core import paths
from pipeline.core.errors import PipelineError
from pipeline.core.manifest import beside
from pipeline.evaluation.methods import BASELINES
from pipeline.graph.artifacts import KINDS
from pipeline.graph.base import Artifact
from pipeline.graph.study import Study
from pipeline.raw.splits.names import OUT_OF_FOLD, SPLITS

_FIELDS = {
    "dataset": r"[A-Za-z0-9][A-Za-z0-9_-]*",
    "experiment": r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    "split": "|".join((*SPLITS, OUT_OF_FOLD)),
    "kind": "|".join(("probability", "mask", *BASELINES)),
    "number": r"0|[1-9]\d*",
    "folds": r"[1-9]\d*",
}


class Pattern(NamedTuple):
    """The path of a file or folder of a kind of result, as a regular expression for each of its steps."""

    steps: tuple[re.Pattern[str], ...]
    is_folder: bool


@cache
def patterns(kind: type[Artifact]) -> list[Pattern]:
    """Return the patterns of the files and folders that a kind of result has, and of its manifest."""
    files = [*kind.files.values(), beside(next(iter(kind.files.values())))]
    return [Pattern(tuple(map(_step, path.parts)), not path.suffix) for path in files]


def _step(text: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", text)
    named = (f"(?P<{part}>{_FIELDS[part]})" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile("".join(named))


def matches(path: Path) -> Iterator[Artifact]:
    """Yield the results that a path may belong to: one of their files or folders, inside one, or the folder of all."""
    for kind in KINDS:
        for steps, is_folder in patterns(kind):
            longer = len(path.parts) - len(steps)
            if longer == 0 or (longer > 0 and is_folder) or (longer == -1 and len(kind.files) > 1):
                fits = [step.fullmatch(part) for step, part in zip(steps, path.parts, strict=False)]
                texts = {key: text for fit in fits if fit for key, text in fit.groupdict().items()}
                if all(fits) and texts.keys() == set(kind.fields()):
                    yield kind.of_texts(texts)


def recognize(study: Study, path: Path) -> Artifact:
    """Tell which result stands at a path below `pipeline.core.paths.RESULTS`.

    Raises
    ------
    PipelineError
        If the pipeline writes nothing of this name.
    """
    found = list(matches(path))
    if not found:
        known = dict.fromkeys(str(kind.example("<{}>").path.relative_to(paths.RESULTS)) for kind in KINDS)
        expected = f"one of these, or something in it, below {paths.RESULTS}/: {', '.join(known)}"
        raise PipelineError(str(path), "a name that the pipeline gives to nothing", expected, "correct the path")
    return next((artifact for artifact in found if artifact.is_known(study)), found[0])
