"""Profiles name rules and resources that there are."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
RULES = dict(
    re.findall(
        r"^rule (\w+):\n(.*?)(?=^\S|\Z)",
        "\n".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk"))),
        re.MULTILINE | re.DOTALL,
    )
)
CLUSTERS = ("slurm", "cluster-generic")


def profile(name):
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_rule_that_a_profile_names_is_there(name):
    settings = profile(name)
    grouped = [entry.split("=") for entry in settings.get("groups", [])]
    assert {*settings["set-resources"], *(rule for rule, _ in grouped)} <= set(RULES)
    assert len({rule for rule, _ in grouped}) == len(grouped)
    assert {entry.split("=")[0] for entry in settings.get("group-components", [])} <= {group for _, group in grouped}


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_takes_a_gpu_has_resources_of_its_own_and_a_job_of_its_own(name):
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
def test_what_does_not_concern_the_cluster_is_as_on_one_machine(name):
    settings, default = profile(name), profile("default")
    shared = {key for key in default if not key.startswith("__")} - {"resources"}
    assert {key: settings[key] for key in shared} == {key: default[key] for key in shared}


def test_jobs_of_a_group_take_the_core_that_their_memory_is_asked_for():
    settings = profile("slurm")
    grouped = {entry.split("=")[0] for entry in settings["groups"]}
    threaded = {rule for rule in grouped if re.search(r"^    threads:", RULES[rule], re.MULTILINE)}
    assert settings["set-threads"] == dict.fromkeys(sorted(threaded), 1)


@pytest.mark.parametrize("name", CLUSTERS)
def test_no_job_ever_asks_for_more_than_a_day(name):
    """A partition lets what is above its limit wait for ever."""
    settings = profile(name)
    asked = [one["runtime"] for one in settings["set-resources"].values() if "runtime" in one]
    for said in [*asked, settings["default-resources"]["runtime"]]:
        minutes = [eval(said, {"min": min, "attempt": attempt}) for attempt in range(1, settings["retries"] + 2)]
        assert 0 < minutes[0] <= minutes[1] <= max(minutes) <= 1440


def test_slurm_asks_for_a_signal_that_a_training_saves_at():
    extra = profile("slurm")["set-resources"]["train"]["slurm_extra"]
    seconds = re.fullmatch(r"'--signal=TERM@(\d+)'", extra)
    assert seconds is not None
    assert int(seconds[1]) >= 60
