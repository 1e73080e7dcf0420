"""Full or read-only disks, and raw files that are removed while the workflow runs."""

import signal
import subprocess
import sys
import time

import psutil
import pytest
from projects import ROOT

from pipeline.core.files import PARTIAL

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(fresh):
    """Mount a separate file system as the folder of results; skip the test without the rights to mount."""
    results = fresh.folder / "results"
    results.mkdir()

    def mount(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", results], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount: {done.stderr}")

    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", results], capture_output=True, check=False)


def leftovers(project):
    return [path for path in project.folder.rglob("*") if PARTIAL.match(path.name)]


def test_full_disk_gives_one_message_and_can_be_resumed(fresh, disk):
    disk("size=120k")
    assert fresh.snakemake("shards", "--keep-going", check=False) != 0
    assert "found:    No space left on device" in fresh.output
    assert "remedy:   free some disk space, then run the same command again" in fresh.output
    assert "Traceback" not in fresh.output
    assert leftovers(fresh) == []
    built = {name for name in fresh.files() if name.endswith(".h5")}
    disk("remount,size=64m")
    fresh.snakemake("shards")
    assert built < {name for name in fresh.files() if name.endswith(".h5")}
    assert fresh.planned("shards") == {}


def test_read_only_disk_gives_one_message_and_can_be_resumed(fresh, disk):
    disk("size=64m")
    fresh.snakemake("results/shards/t/test-0.h5")
    disk("remount,ro,size=64m")
    assert fresh.snakemake("shards", check=False) != 0
    assert "Read-only file system" in fresh.output
    disk("remount,rw,size=64m")
    fresh.snakemake("shards")
    assert leftovers(fresh) == []
    assert fresh.planned("shards") == {}


def test_raw_file_removed_during_the_run_is_reported(fresh):
    shards = fresh.folder / "results/shards"
    output = fresh.folder / "output.txt"
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", fresh.folder]
    command += ["--cores", "1", "--keep-going", "shards"]
    with output.open("w") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT)
    try:
        while not list(shards.rglob("*.h5")):
            assert process.poll() is None, output.read_text()
            time.sleep(0.05)
        # while Snakemake is stopped, no job starts and running jobs end
        process.send_signal(signal.SIGSTOP)
        jobs = psutil.Process(process.pid).children()
        while any(job.status() != psutil.STATUS_ZOMBIE for job in jobs):
            time.sleep(0.05)
        # an image of the data set without shards, of which no file has been read yet
        tgs_is_done = bool(list(shards.glob("t/*.h5")))
        waiting = "DRIVE/training/images/22_training.tif" if tgs_is_done else "TGS/train/images/tile003.png"
        image = fresh.folder / "raw" / waiting
        kept = image.read_bytes()
        image.unlink()
        process.send_signal(signal.SIGCONT)
        assert process.wait(400) != 0
    finally:
        process.kill()
    text = output.read_text()
    assert image.name in text or "no image that starts with the number 22" in text
    assert "remedy:" in text or "Missing files" in text  # either the job notices, or Snakemake before it starts the job
    assert "Traceback" not in text
    assert leftovers(fresh) == []
    image.write_bytes(kept)
    fresh.snakemake("shards")
    assert fresh.planned("shards") == {}
