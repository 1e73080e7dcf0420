"""Manifests of results that a test writes by hand."""

from pathlib import Path

from pipeline.config.config import load
from pipeline.core.manifest import Manifest
from pipeline.graph import targets
from pipeline.graph.base import plan_of
from pipeline.graph.study import Study


def sign(study, *artifacts):
    """Write the manifests of results, of what is there of them, as if today's jobs had made it."""
    for artifact in artifacts:
        outputs = [path for path in artifact.outputs().values() if path.exists()]
        if outputs:
            Manifest.of(plan_of(artifact, study).fingerprint(), outputs).write(artifact.path)


def sign_all():
    """Do so for all results of the configuration in the working directory."""
    study = Study(load([Path("config.yaml")]))
    sign(study, *targets.everything(study))
