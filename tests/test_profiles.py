"""Rules and resources in the profiles exist and fit together."""

import os
import re
from pathlib import Path

import pytest
import yaml
import yte
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

ROOT = Path(__file__).parents[1]
RULES = dict(
    re.findall(
        r"^(?:use rule \w+ as|rule) (\w+)(?: with)?:\n(.*?)(?=^\S|\Z)",
        "\n".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk"))),
        re.MULTILINE | re.DOTALL,
    )
)
CLUSTERS = ("slurm", "cluster-generic")


def profile(name):
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_rule_named_in_a_profile_exists(name):
    settings = profile(name)
    grouped = [entry.split("=") for entry in settings.get("groups", [])]
    assert {*settings["set-resources"], *(rule for rule, _ in grouped)} <= set(RULES)
    assert len({rule for rule, _ in grouped}) == len(grouped)
    assert {entry.split("=")[0] for entry in settings.get("group-components", [])} <= {group for _, group in grouped}


@pytest.mark.parametrize("name", CLUSTERS)
def test_gpu_rules_have_own_resources_and_jobs(name):
    settings = profile(name)
    with_gpu = {rule for rule, text in RULES.items() if re.search(r"^ +gpu=", text, re.MULTILINE)}
    assert "train" in with_gpu
    assert with_gpu <= set(settings["set-resources"])
    assert not with_gpu & {entry.split("=")[0] for entry in settings.get("groups", [])}
    for rule in with_gpu:
        asked = settings["set-resources"][rule]
        assert "attempt" in asked["mem_mb"]
        assert "attempt" in asked["runtime"]
        assert name != "slurm" or asked["slurm_partition"] == "gpu"


@pytest.mark.parametrize("name", CLUSTERS)
def test_cluster_profiles_share_the_local_settings(name):
    settings, default = profile(name), profile("default")
    shared = {key for key in default if not key.startswith("__")} - {"resources"}
    assert {key: settings[key] for key in shared} == {key: default[key] for key in shared}


@pytest.mark.parametrize("name", ["default", *CLUSTERS])
@pytest.mark.parametrize("installed", [True, False])
def test_profiles_use_the_logger_only_where_it_is_installed(monkeypatch, name, installed):
    """Snakemake refuses a profile that names a plugin which is not there."""
    monkeypatch.setattr("sys.argv", ["snakemake"])
    monkeypatch.setattr(
        LoggerPluginRegistry, "is_installed", lambda self, plugin: installed and plugin == "segmentation"
    )
    settings = yte.process_yaml((ROOT / "profiles" / name / "config.yaml").read_text(), require_use_yte=True)
    assert settings.get("logger") == ("segmentation" if installed else None)
    assert settings["show-failed-logs"] is True


@pytest.mark.parametrize(("gpus", "jobs"), [([], os.cpu_count()), (["GPU-aa", "GPU-bb"], 2)])
def test_gpus_limit_jobs_only_where_there_are_any(monkeypatch, gpus, jobs):
    """Without a GPU, the threads of the jobs fill the cores that Snakemake was given."""
    monkeypatch.setattr("sys.argv", ["snakemake"])
    monkeypatch.setattr("pipeline.core.gpus.usable_gpus", lambda: gpus)
    settings = yte.process_yaml((ROOT / "profiles/default/config.yaml").read_text(), require_use_yte=True)
    assert settings["resources"] == [f"gpu={jobs}"]


def test_grouped_jobs_use_one_core_each():
    settings = profile("slurm")
    grouped = {entry.split("=")[0] for entry in settings["groups"]}
    threaded = {rule for rule in grouped if re.search(r"^    threads:", RULES[rule], re.MULTILINE)}
    assert settings["set-threads"] == dict.fromkeys(sorted(threaded), 1)


@pytest.mark.parametrize("name", CLUSTERS)
def test_no_job_requests_more_than_a_day(name):
    """Jobs above the time limit of a partition would wait forever."""
    settings = profile(name)
    runtimes = [resources["runtime"] for resources in settings["set-resources"].values() if "runtime" in resources]
    for runtime in [*runtimes, settings["default-resources"]["runtime"]]:
        minutes = [eval(runtime, {"min": min, "attempt": attempt}) for attempt in range(1, settings["retries"] + 2)]
        assert 0 < minutes[0] <= minutes[1] <= max(minutes) <= 1440


def test_slurm_sends_the_signal_that_saves_the_state():
    extra = profile("slurm")["set-resources"]["train"]["slurm_extra"]
    seconds = re.fullmatch(r"'--signal=TERM@(\d+)'", extra)
    assert seconds is not None
    assert int(seconds[1]) >= 60
