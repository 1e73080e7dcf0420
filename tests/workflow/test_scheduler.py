"""What Snakemake's own process does while jobs run."""

import subprocess
import sys

import pytest
from projects import ROOT

SNAKEFILE = """
{include}

rule all:
    input:
        expand("done/{{n}}", n=range(20)),

# one at a time, and the last ones are long: what waits for them must not be looked at again and again
rule one:
    output:
        "done/{{n}}",
    resources:
        gpu=1,
    shell:
        "if [ {{wildcards.n}} -ge 18 ]; then sleep 2; fi; touch {{output}}"
"""


@pytest.mark.parametrize("quiet", [True, False])
def test_the_scheduler_sleeps_while_nothing_ends(tmp_path, quiet):
    include = f'include: "{ROOT / "workflow/rules/scheduler.smk"}"' if quiet else ""
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(include=include))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--resources", "gpu=1", "--verbose"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    looks = (done.stdout + done.stderr).count("Ready jobs: ")
    # the second case is Snakemake as it comes: when it fails, the file has become superfluous
    assert looks <= 45 if quiet else looks > 45
