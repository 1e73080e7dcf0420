"""Changes to Snakemake's internals: wake-ups of its scheduler, and reading of its records."""

import functools
import re
import shutil
import subprocess
import sys
import types

import pytest
from projects import ROOT

COMPAT = ROOT / "workflow/rules/snakemake_compat.smk"

SNAKEFILE = """
{include}

rule all:
    input:
        expand("done/{{n}}", n=range(20)),

# one at a time, the last ones slow: the scheduler must not evaluate the waiting job all the time
rule one:
    output:
        "done/{{n}}",
    resources:
        gpu=1,
    shell:
        "if [ {{wildcards.n}} -ge 18 ]; then sleep 2; fi; touch {{output}}"
"""


def run(folder, text, *words, check=True):
    (folder / "Snakefile").write_text(text)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=check, timeout=120)


@pytest.mark.parametrize("quiet", [True, False])
def test_scheduler_sleeps_while_no_job_ends(tmp_path, quiet):
    include = f'include: "{COMPAT}"' if quiet else ""
    done = run(tmp_path, SNAKEFILE.format(include=include), "--resources", "gpu=1", "--verbose")
    evaluations = (done.stdout + done.stderr).count("Ready jobs: ")
    # the second case is unpatched Snakemake: if it fails, the patch is no longer needed
    assert evaluations <= 45 if quiet else evaluations > 45


def test_scheduler_wakes_up_when_the_rate_limit_held_jobs(tmp_path):
    """Short jobs use up the rate limit while none runs, so that only the timer can wake the scheduler."""
    text = f"""
include: "{COMPAT}"

rule all:
    input:
        expand("done/{{n}}", n=range(12)),

rule one:
    output:
        touch("done/{{n}}"),
    run:
        pass
"""
    run(tmp_path, text.replace("{{", "{").replace("}}", "}"), "--max-jobs-per-timespan", "3/1s")
    assert len(list((tmp_path / "done").iterdir())) == 12


@pytest.fixture
def wake_up():
    """Return a function that tells whether the patched method wakes a mock scheduler in a given state."""
    source = COMPAT.read_text()
    names = {"functools": functools}
    exec(
        source[source.index("def quiet_reevaluation") : source.index("# Whether Snakemake makes a result again")], names
    )
    woken = []
    patched = names["quiet_reevaluation"](lambda scheduler, delay: woken.append(delay))

    def ask(running, free, delay=1, limiter=True):
        woken.clear()
        limits = types.SimpleNamespace(timespan=1, get_free_jobs=lambda: free) if limiter else None
        patched(types.SimpleNamespace(job_rate_limiter=limits, running=running), delay)
        return bool(woken)

    return ask


def test_only_unnecessary_wake_ups_are_omitted(wake_up):
    assert not wake_up(running={"a job"}, free=5)
    assert wake_up(running=set(), free=5)  # no job end would wake it
    assert wake_up(running={"a job"}, free=0)
    assert wake_up(running={"a job"}, free=5, delay=0.1)
    assert wake_up(running={"a job"}, free=5, limiter=False)


def test_untested_snakemake_version_is_not_patched(tmp_path):
    untested = tmp_path / "untested.smk"
    untested.write_text(re.sub(r"^TESTED = .*$", 'TESTED = ("1.0",)', COMPAT.read_text(), flags=re.MULTILINE))
    text = SNAKEFILE.format(include=f'include: "{untested}"')
    text = (
        text.replace("gpu=1", "gpu=0")
        + """
from snakemake.scheduling.job_scheduler import JobScheduler
print("patched:", hasattr(JobScheduler._schedule_reevalutation, "__wrapped__"))
print("reruns:", snakemake_will_rerun(["done/0"], "a plan"))
"""
    )
    output = run(tmp_path, text, "-n").stdout
    assert "patched: False" in output
    assert "reruns: True" in output


def test_snakemake_records_tell_whether_a_result_reruns(tmp_path):
    text = f"""
include: "{COMPAT}"

def print_reruns(wildcards):
    print("reruns:", *(snakemake_will_rerun(["made"], plan) for plan in ("this plan", "another plan")))
    return []

rule all:
    input:
        "made",

rule make:
    input:
        print_reruns,
    output:
        "made",
    params:
        plan="this plan",
        fails=FAILS,
    shell:
        "touch {{output}}; {{params.fails}}"
"""

    def reruns(fails=""):
        done = run(tmp_path, text.replace("FAILS", repr(fails)), check=not fails)
        return (done.stdout + done.stderr).split("reruns: ")[1].split("\n")[0]

    assert reruns() == "False False"  # no records yet
    assert reruns() == "False True"
    shutil.rmtree(tmp_path / ".snakemake")
    assert reruns() == "False False"
    (tmp_path / "made").unlink()
    run(tmp_path, text.replace("FAILS", "'kill -9 $PPID; sleep 9'"), check=False)
    run(tmp_path, text.replace("FAILS", "''"), "--unlock")
    assert reruns("false") == "True True"  # interrupted, so it is made again


@pytest.mark.parametrize("forget", [True, False])
def test_functions_of_rules_are_no_global_variables(tmp_path, forget):
    text = f"""
include: "{COMPAT}"

rule one:
    output:
        touch("done"),
    shell:
        "echo {{rule}}"

{"forget_functions_of_rules()" if forget else ""}

onstart:
    print("kept:", [name for name in workflow.globals if name == "__one"])
"""
    done = run(tmp_path, text.replace("{{", "{").replace("}}", "}"))
    # the second case is unpatched Snakemake: if it fails, the patch is no longer needed
    assert ("kept: []" if forget else "kept: ['__one']") in done.stdout + done.stderr
    assert (tmp_path / "done").exists()
