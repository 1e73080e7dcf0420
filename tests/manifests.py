"""Write manifests for results that a test writes by hand."""

from pathlib import Path

from pipeline.config.config import load
from pipeline.core.manifest import Manifest
from pipeline.graph import targets
from pipeline.graph.base import plan_of
from pipeline.graph.study import Study


def sign(study, *artifacts):
    """Write manifests for the existing files of artifacts, as if jobs of the current code had made them."""
    for artifact in artifacts:
        outputs = [path for path in artifact.outputs().values() if path.exists()]
        if outputs:
            Manifest.describe(plan_of(artifact, study).fingerprint(), outputs).write(artifact.path)


def sign_all():
    """Write manifests for all existing results of the configuration in the working directory."""
    study = Study(load([Path("config.yaml")]))
    sign(study, *targets.all_results(study))
