"""A mock of Grid Engine's commands: a copy of this file is named `qsub`, `qstat`, `qacct` or `qdel`.

Jobs run immediately on this machine. The folder of the copies contains the records of a job: `ID.words` (the command
line of `qsub`), `ID.pid` and, after it has ended, `ID.exit`. A file `lose` in it makes the next job fail immediately.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def qsub(folder, words):
    job = 1 + len(list(folder.glob("*.words")))
    (folder / f"{job}.words").write_text("\n".join(words))
    log = Path(words[words.index("-o") + 1]) / f"{job}.log"
    end = folder / f"{job}.exit"
    lost = folder / "lose"
    if lost.exists():
        lost.unlink()
        end.write_text("137")
        print(job)
        return 0
    shell = ["sh", "-c", '"$0" > "$1" 2>&1; echo $? > "$2.new"; mv "$2.new" "$2"', words[-1], str(log), str(end)]
    process = subprocess.Popen(
        shell, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    (folder / f"{job}.pid").write_text(str(process.pid))
    print(job)
    return 0


def qstat(folder, words):
    return int((folder / f"{words[-1]}.exit").exists())


def qacct(folder, words):
    end = folder / f"{words[-1]}.exit"
    if not end.exists():
        return 1
    print(f"jobnumber    {words[-1]}\nfailed       0\nexit_status  {end.read_text().strip()}             ")
    return 0


def qdel(folder, words):
    for job in words:
        with suppress(ProcessLookupError):
            os.killpg(int((folder / f"{job}.pid").read_text()), signal.SIGKILL)
        (folder / f"{job}.exit").write_text("137")
    return 0


if __name__ == "__main__":
    called = Path(sys.argv[0])
    sys.exit({"qsub": qsub, "qstat": qstat, "qacct": qacct, "qdel": qdel}[called.name](called.parent, sys.argv[1:]))
