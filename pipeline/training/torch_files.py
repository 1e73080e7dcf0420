"""Read files that `torch.save` wrote, after checking them against their own checksums.

Such a file is a zip archive with a CRC-32 for each record. PyTorch does not check it, so that a flipped bit would
change weights without a message.
"""

import io
import pickletools
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

_GLOBALS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch\.storage UntypedStorage|torch [A-Z]\w*Storage"
)
"""What the pickle of a file may name; PyTorch would also let it allocate a bytearray of any size."""


def load_verified(path: Path) -> Any:  # noqa: ANN401 - any plain data
    """Load tensors and plain data; code in a file is never run.

    PyTorch reads a copy of the records whose names and checksums agree: no other byte of the file has an effect.

    Parameters
    ----------
    path : Path

    Returns
    -------
    object
        With tensors on the CPU.

    Raises
    ------
    FileNotFoundError, PermissionError
    ValueError
        If the file is damaged, or contains anything except tensors and plain data.
    """
    _require_file(path)
    try:
        with zipfile.ZipFile(path) as archive, io.BytesIO() as verified:
            _require_stored(archive, path.stat().st_size)
            with zipfile.ZipFile(verified, "w") as copy:
                for entry in archive.infolist():
                    data = archive.read(entry)
                    if entry.filename.endswith("data.pkl"):
                        _require_tensors(data)
                    copy.writestr(zipfile.ZipInfo(entry.filename), data)
            verified.seek(0)
            return torch.load(verified, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # damaged and hostile files can cause any
        raise ValueError(_describe(error)) from error


def verify_record(path: Path, name: str) -> None:
    """Check the CRC-32 of one record of a file; raise as `load_verified` does.

    Parameters
    ----------
    path : Path
    name : str
        Without the folder that all records are in.
    """
    _require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _require_stored(archive, path.stat().st_size)
            for entry in archive.infolist():
                if entry.filename.partition("/")[2] == name:
                    archive.read(entry)
    except Exception as error:
        raise ValueError(_describe(error)) from error


def _require_tensors(pickled: bytes) -> None:
    """Refuse a pickle that names anything except what tensors and plain data are made of."""
    for opcode, argument, _ in pickletools.genops(pickled):
        is_global = opcode.name == "GLOBAL"
        if opcode.name in ("STACK_GLOBAL", "INST") or (is_global and not _GLOBALS.fullmatch(str(argument))):
            raise ValueError(f"{argument or opcode.name} in place of tensors and plain data")


def _require_file(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):  # a device or a pipe may have no end
        raise ValueError("not a regular file")


def _describe(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _require_stored(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse records that take more memory than the file of `size` bytes, and names that occur twice."""
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise zipfile.BadZipFile("compressed records; torch.save writes none")
    if sum(entry.file_size for entry in entries) > size:
        raise zipfile.BadZipFile("records that are larger than the file")
    if len({entry.filename for entry in entries}) < len(entries):
        raise zipfile.BadZipFile("two records of one name")
