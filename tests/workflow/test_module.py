"""Another workflow uses this one as a module, and goes on from its results."""

import json

from projects import ROOT, Project
from rawfiles import make_drive

SNAKEFILE = """
configfile: "mine.yaml"


module segmentation:
    snakefile:
        SNAKEFILE
    config:
        config["segmentation"]


use rule * from segmentation as segmentation_*


rule best:
    input:
        "results/leaderboard.csv",
    output:
        "best.txt",
    shell:
        "sed -n 2p {input} > {output}"
"""
CONFIG = {
    "segmentation": {"datasets": {"d": {"layout": "drive", "root": "raw/DRIVE", "size": [48, 40]}}, "experiments": {}}
}


class Other(Project):
    """A folder with a workflow of its own."""

    def __init__(self, folder):
        super().__init__(folder, folder)
        make_drive(folder / "raw/DRIVE")
        snakefile = SNAKEFILE.replace("SNAKEFILE", json.dumps(str(ROOT / "workflow/Snakefile")))
        (folder / "Snakefile").write_text(snakefile)
        (folder / "mine.yaml").write_text(json.dumps(CONFIG))

    def snakemake(self, *words, **more):
        return super().snakemake(*words, PYTHONPATH=str(ROOT), **more)


def test_module_results_feed_rules_of_another_workflow(tmp_path):
    other = Other(tmp_path)
    other.snakemake("best")
    assert (tmp_path / "best.txt").read_text().startswith("d.resolution-ceiling,")
    assert other.planned("best") == {}
    planned = other.planned("segmentation_all", "--forceall")
    assert {"segmentation_shard", "segmentation_evaluate", "segmentation_report"} <= planned.keys()
    assert all(rule.startswith("segmentation_") for rule in planned)
