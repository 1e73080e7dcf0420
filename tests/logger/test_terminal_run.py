"""The workflow on a pseudo-terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from projects import LASTING, ROOT, Project
from rawfiles import make_tgs

ENVIRONMENT = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'logger'}", "OMP_NUM_THREADS": "1", "TERM": "xterm"}


def on_terminal(project, *words, columns=80, rows=24):
    """Run Snakemake on a terminal; return its exit status and what it wrote."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *words]
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, cwd=project.folder, stdin=follower, stdout=follower, stderr=follower, env=environment | ENVIRONMENT
    )
    os.close(follower)
    chunks = []
    while True:
        try:
            chunks.append(os.read(leader, 65536))
        except OSError:  # every process has closed the terminal
            break
    os.close(leader)
    return process.wait(), b"".join(chunks).decode()


@pytest.mark.slow
def test_terminal_shows_a_training_its_end_and_its_changes(tmp_path):
    project = Project(tmp_path)
    make_tgs(tmp_path / "raw/TGS")
    project.config.write_text(LASTING.replace("EPOCHS", "150"))
    status, text = on_terminal(project, "models_a")
    assert status == 0, text
    assert re.search(r"\d+/150 .*Dice 0\.\d{4}", text)
    assert "training" in text
    assert re.search(r"All \d+ jobs done", text)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again
    assert not list((tmp_path / "results").rglob("progress.json"))

    project.edit("epochs: 150", "epochs: 160")
    status, text = on_terminal(project, "-n", "models_a")
    assert status == 0, text
    assert re.search(r"a .*epochs 150 -> 160", text)
    assert "tgs" not in text.partition("would run")[2]  # the shards are current

    project.edit("lr: 0.01", "lr: 1e20")
    status, text = on_terminal(project, "models_a")
    assert status == 1
    assert "Training stopped (1 problem):" in text
    assert "remedy:   lower the learning rate" in text
    assert "log: results/logs/train/a.log" in text
    assert "Traceback" not in text
