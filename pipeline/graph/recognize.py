"""Find out which result a path belongs to."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline.core import paths
from pipeline.core.errors import PipelineError
from pipeline.core.manifest import manifest_path
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
    """The path of a file or folder of a kind of result, as a regular expression for each component."""

    steps: tuple[re.Pattern[str], ...]
    is_folder: bool


@cache
def patterns(kind: type[Artifact]) -> list[Pattern]:
    """Return the patterns of the files and folders of a kind of result, and of its manifest."""
    files = [*kind.files.values(), manifest_path(next(iter(kind.files.values())))]
    return [Pattern(tuple(map(_step, path.parts)), not path.suffix) for path in files]


def _step(text: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", text)
    escaped = (
        f"(?P<{piece}>{_FIELDS[piece]})" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)
    )
    return re.compile("".join(escaped))


def matching_artifacts(path: Path) -> Iterator[Artifact]:
    """Yield the results that a path may belong to: as one of their outputs, inside one, or as the folder of all."""
    for kind in KINDS:
        for steps, is_folder in patterns(kind):
            extra = len(path.parts) - len(steps)
            if extra == 0 or (extra > 0 and is_folder) or (extra == -1 and len(kind.files) > 1):
                matches = [step.fullmatch(part) for step, part in zip(steps, path.parts, strict=False)]
                texts = {key: text for match in matches if match for key, text in match.groupdict().items()}
                if all(matches) and texts.keys() == set(kind.fields()):
                    yield kind.from_strings(texts)


def recognize(study: Study, path: Path) -> Artifact:
    """Return the result that a path below `pipeline.core.paths.RESULTS` belongs to.

    Raises
    ------
    PipelineError
        If the pipeline writes no file or folder of this name.
    """
    candidates = list(matching_artifacts(path))
    if not candidates:
        known_paths = dict.fromkeys(str(kind.example("<{}>").path.relative_to(paths.RESULTS)) for kind in KINDS)
        expected = f"one of these, or something in it, below {paths.RESULTS}/: {', '.join(known_paths)}"
        raise PipelineError(str(path), "a name that the pipeline does not write", expected, "correct the path")
    return next((artifact for artifact in candidates if artifact.is_configured(study)), candidates[0])
