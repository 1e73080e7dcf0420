import errno
import gzip
import io
import lzma
import os
import random
import resource
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from rawfiles import make_drive, make_tgs
from sources import opened

from pipeline.cli.main import main
from pipeline.core.errors import OutputError, RawDataError
from pipeline.tools.unpack import _require_count, unpack


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def zip_folder(folder, path, top=""):
    return make_zip(
        path,
        {
            top + str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    )


def file_names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_refused(archive, folder, match, kind=RawDataError, **options):
    with pytest.raises(kind, match=match) as caught:
        unpack(archive, folder, **options)
    assert not folder.exists() or not any(folder.iterdir())
    assert not [name for name in os.listdir(folder.parent) if "partial" in name]
    return str(caught.value)


FILES = {"a/1.txt": b"one", "a/b/2.txt": b"two" * 1000, "a/leer.txt": b""}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_compression_is_detected_by_the_first_bytes(tmp_path, mode):
    unpack(make_tar(tmp_path / "archive.dat", FILES, mode), tmp_path / "out")
    assert file_names(tmp_path / "out") == sorted(FILES)
    assert (tmp_path / "out/a/b/2.txt").read_bytes() == b"two" * 1000


def test_root_and_layout_of_a_drive_zip_are_logged(tmp_path, drive, capsys):
    archive = zip_folder(drive, tmp_path / "DRIVE.zip", top="DRIVE/")
    assert main(["unpack", str(archive), str(tmp_path / "raw")]) == 0
    output = capsys.readouterr()
    root = tmp_path / "raw" / "DRIVE"
    assert f"root: {root}" in output.out + output.err
    assert "layout: drive" in output.out + output.err
    raw = opened("d", "drive", root, test={"rule": "official"})
    assert len(raw.splits["test"]) == 3


def test_nested_archives_become_folders_of_their_name(tmp_path, tgs, capsys):
    flat = zip_folder(tgs / "train", tmp_path / "train.zip").read_bytes()
    under = zip_folder(tgs / "test", tmp_path / "test.zip", top="test/").read_bytes()
    tables = {name: (tgs / name).read_bytes() for name in ("train.csv", "depths.csv")}
    outer = make_zip(tmp_path / "competition_data.zip", {"train.zip": flat, "test.zip": under, **tables})
    unpack(outer, tmp_path / "out")
    assert file_names(tmp_path / "out") == file_names(tgs)
    assert "layout: tgs" in capsys.readouterr().err
    assert len(opened("t", "tgs", tmp_path / "out").splits["unlabelled"]) == 2


def test_nested_non_archives_in_zip_format_are_not_unpacked(tmp_path):
    table = make_zip(tmp_path / "x.zip", {"sheet.xml": b"<x/>"}).read_bytes()
    unpack(make_zip(tmp_path / "y.zip", {"table.xlsx": table, "scan.nii.gz": b"\x1f\x8bxx"}), tmp_path / "out")
    assert file_names(tmp_path / "out") == ["scan.nii.gz", "table.xlsx"]


@pytest.mark.parametrize("name", ["../x.txt", "/etc/x.txt", "a/../../x.txt", "..\\x.txt", "C:\\x.txt"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_paths_outside_the_folder_are_refused(tmp_path, name, make):
    assert_refused(make(tmp_path / "x", {"a.txt": b"a", name: b"x"}), tmp_path / "out", "leads out of the folder")
    assert not (tmp_path / "x.txt").exists()


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo("thing")
        member.type, member.linkname = kind, "../../etc/passwd"
        assert_refused(make_tar(tmp_path / "x.tar", {member: b""}, "w"), tmp_path / "out", "a link or device")
    link = zipfile.ZipInfo("thing")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    assert_refused(make_zip(tmp_path / "x.zip", {link: b"/etc/passwd"}), tmp_path / "out", "a link or device")


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("names", [("A.png", "a.png"), ("\u00e9.png", "e\u0301.png"), ("a", "a/b"), ("Ab/1", "aB/2")])
def test_names_that_collide_on_some_file_systems_are_refused(tmp_path, names, make):
    assert_refused(make(tmp_path / "x", dict.fromkeys(names, b"1")), tmp_path / "out", "collides|damaged|duplicate")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_decompression_bomb_stops_at_the_limit(tmp_path, make):
    bomb = make(tmp_path / "x", {"zeros": bytes(5_000_000)})
    assert bomb.stat().st_size < 50_000
    assert_refused(bomb, tmp_path / "out", "more than 1000000 bytes", max_bytes=1_000_000)
    unpack(bomb, tmp_path / "out", max_bytes=5_000_000)
    nested = make_zip(tmp_path / "y", {"x.zip" if make is make_zip else "x.tgz": bomb.read_bytes()})
    assert_refused(nested, tmp_path / "deep", "more than 1000000 bytes", max_bytes=1_000_000)


def test_bytes_are_counted_if_the_header_has_a_false_size(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"zeros": bytes(3_000_000)}).read_bytes())
    for signature, field in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        offset = data.index(signature) + field
        data[offset : offset + 4] = (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    assert_refused(tmp_path / "x.zip", tmp_path / "out", "damaged|more than", max_bytes=1000)


def test_too_many_files_or_nested_archives_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.tools.unpack.MAX_FILES", 5)
    assert_refused(make_zip(tmp_path / "x.zip", {str(n): b"" for n in range(6)}), tmp_path / "out", "more than 5 files")
    data = b"x"
    for level in range(5):
        data = make_zip(tmp_path / "x.zip", {f"{level}.zip" if level else "x.txt": data}).read_bytes()
    assert_refused(tmp_path / "x.zip", tmp_path / "out", "nested archives, 4 deep")


def test_encrypted_files_are_refused_by_name(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"secret.png": b"123"}).read_bytes())
    for signature, field in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + field] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert "secret.png" in assert_refused(tmp_path / "x.zip", tmp_path / "out", "an encrypted file")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damaged_and_truncated_archives_leave_no_files(tmp_path, make):
    complete = make(tmp_path / "x", {"a.bin": os.urandom(3000), "b.bin": os.urandom(3000)}).read_bytes()
    for share in (0.3, 0.6, 0.9, 0.999):
        (tmp_path / "x").write_bytes(complete[: int(len(complete) * share)])
        assert_refused(tmp_path / "x", tmp_path / "out", "damaged|without its end")
    flipped = bytearray(complete)
    flipped[len(complete) // 2] ^= 16
    (tmp_path / "x").write_bytes(flipped)
    assert_refused(tmp_path / "x", tmp_path / "out", "damaged")


def test_clutter_of_macos_and_windows_is_left_out_and_counted(tmp_path, capsys):
    clutter = {"__MACOSX/a/._1.png": b"x", "a/.DS_Store": b"x", "a/Thumbs.db": b"x", "a/._1.png": b"x"}
    unpack(make_zip(tmp_path / "x.zip", {"a/1.png": b"1", **clutter}), tmp_path / "out")
    assert file_names(tmp_path / "out") == ["a/1.png"]
    output = capsys.readouterr().err
    assert "4 left out" in output
    assert f"root: {tmp_path / 'out' / 'a'}" in output


def test_a_folder_with_files_is_refused_and_kept(tmp_path):
    (tmp_path / "out").mkdir()
    archive = make_zip(tmp_path / "x.zip", FILES)
    unpack(archive, tmp_path / "out")
    unpacked = file_names(tmp_path / "out")
    with pytest.raises(OutputError, match="a new or an empty folder"):
        unpack(archive, tmp_path / "out")
    assert file_names(tmp_path / "out") == unpacked


def test_files_of_another_format_are_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"<html>please log in</html>")
    assert_refused(tmp_path / "x.zip", tmp_path / "out", "a file of another format")
    assert_refused(tmp_path / "gone.zip", tmp_path / "out", "no such file")


def test_an_archive_as_root_is_refused_with_the_unpack_command(tmp_path, capsys):
    make_tgs(tmp_path / "TGS", labelled=2, unlabelled=1)
    archive = zip_folder(tmp_path / "TGS", tmp_path / "my tgs.zip")
    with pytest.raises(RawDataError) as caught:
        opened("salt", "tgs", archive)
    command = f"python -m pipeline unpack '{archive}' '{tmp_path / 'my tgs'}'"
    assert command in str(caught.value)


def test_an_archive_without_top_folder_is_its_own_root(tmp_path, capsys):
    make_drive(tmp_path / "D", training=1, test=0)
    unpack(zip_folder(tmp_path / "D", tmp_path / "x.zip"), tmp_path / "out")
    assert f"root: {tmp_path / 'out'}\n" in capsys.readouterr().err


def header(name, size, kind=b"0", magic=b"ustar\x0000"):
    """Return a tar header that may claim anything."""
    block = bytearray(512)
    fields = {0: name.encode(), 100: b"0000644\0", 124: b"%011o\0" % size, 148: b" " * 8, 156: kind, 257: magic}
    for position, value in fields.items():
        block[position : position + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def pax(**records):
    """Return an extended header with these records."""
    data = b""
    for key, value in records.items():
        record = b" %s=%s\n" % (key.replace("__", ".").encode(), value)
        length = len(record) + len(str(len(record) + 2))
        data += b"%d%s" % (length, record)
    return header("pax", len(data), b"x") + padded(data)


def member(name="a", data=b"a"):
    return header(name, len(data)) + padded(data)


END = bytes(1024)


def gzipped_zeros(path, start, size):
    """Write a gzip file of `start` and then `size` zero bytes."""
    with gzip.open(path, "wb", compresslevel=1) as target:
        target.write(start)
        for _ in range(size >> 24):
            target.write(bytes(1 << 24))
    return path


def test_a_header_that_claims_gigabytes_is_refused_at_once(tmp_path):
    archive = gzipped_zeros(tmp_path / "x.tgz", header("h", 3 * 2**30, b"x"), 100 << 20)
    code = "import sys; from pipeline.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "unpack", str(archive), str(tmp_path / "out")]
    start = time.monotonic()
    limit = 1500 << 20  # of address space, of which imports need most
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    assert "a header that claims 3221225472 bytes" in done.stderr
    assert time.monotonic() - start < 10
    assert not (tmp_path / "out").exists()


def refuse_bytes(tmp_path, data, match, **options):
    (tmp_path / "x.tgz").write_bytes(gzip.compress(data))
    return assert_refused(tmp_path / "x.tgz", tmp_path / "out", match, **options)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        *(
            (header("h", 2**32, kind) + bytes(9000), "a header that claims 4294967296")
            for kind in (b"g", b"X", b"L", b"K")
        ),
        (pax(path=b"b") * 20 + member() + END, "more than 16 headers of one file"),
        (pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0") + member() + END, "sparse"),
        (header("s", 512, b"S") + bytes(512) + END, "sparse"),
        (header("x", 12, b"x") + padded(b"999999 path=a") + member() + END, "a damaged archive"),
        (header("x", 24, b"x") + padded(b"12 path=abc\nno-space=ab\n") + member() + END, "a damaged archive"),
        (header("x", 18, b"x") + padded(b"12 path=abc\n0 a=b\n") + member() + END, "a damaged archive"),
        (header("x", 600, b"x") + padded(b"1" * 600) + member() + END, "a damaged archive"),
        (member() + b"\1" * 512 + END, "does not match its checksum"),
        (member() + END + member("b"), "data after its end"),
        (member(), "ends early"),
        (member() + bytes(512), "its end is missing"),
        (header("a", 5000) + b"short", "ends within a file"),
        (END, "an archive without files"),
        (member("__MACOSX/._a") + END, "an archive without files .1 left out"),
        (member("./.") + END, "a file without a name"),
        (b"no tar at all" * 100, "a compressed file that is no tar archive"),
        (header("a" * 90 + "/x", 1, b"M") + END, "a link or device"),
    ],
)
def test_odd_tar_archives_are_refused_with_the_reason(tmp_path, data, match):
    refuse_bytes(tmp_path, data, match)


def test_long_names_and_sizes_of_extended_headers_are_read(tmp_path):
    name = "/".join(["folder"] * 30) + "/ü.txt"
    gnu = header("././@LongLink", len(name.encode()) + 1, b"L") + padded(name.encode() + b"\0") + member("x", b"1")
    changed = pax(path=f"p/{name}".encode(), size=b"3") + header("x", 0) + padded(b"123")
    prefixed = bytearray(header("short.txt", 1))
    prefixed[345:350] = b"first"
    prefixed[148:156] = b" " * 8
    prefixed[148:156] = b"%06o\0 " % sum(prefixed)
    data = gnu + changed + bytes(prefixed) + padded(b"4") + header("empty/", 0, b"5") + END
    (tmp_path / "x.tgz").write_bytes(gzip.compress(data))
    unpack(tmp_path / "x.tgz", tmp_path / "out")
    contents = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in (tmp_path / "out").rglob("*.txt")
    }
    assert contents == {name: b"1", f"p/{name}": b"123", "first/short.txt": b"4"}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_tar_archives_of_every_format_are_read(tmp_path, form):
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name if form == tarfile.USTAR_FORMAT else f"{'long' * 40}/é/{name}")
            info.size, info.mtime = len(data), 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(info, io.BytesIO(data))
    unpack(tmp_path / "x.tar", tmp_path / "out")
    assert [name[-7:] for name in file_names(tmp_path / "out")] == [name[-7:] for name in sorted(FILES)]


def test_clutter_counts_towards_the_limit_before_it_is_read(tmp_path):
    clutter = header("__MACOSX/big", 2**33) + bytes(2**20)
    assert "__MACOSX/big" in refuse_bytes(tmp_path, clutter, "more than .* bytes")
    many = b"".join(member("__MACOSX/._a", b"1" * 600) for _ in range(4)) + member() + END
    refuse_bytes(tmp_path, many, "more than 2000 bytes", max_bytes=2000)
    unpack(tmp_path / "x.tgz", tmp_path / "out", max_bytes=2401)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_folders_and_clutter_count_as_members(tmp_path, monkeypatch, make):
    monkeypatch.setattr("pipeline.tools.unpack.MAX_FILES", 5)
    names = ["a.txt", *(f"__MACOSX/{number}" for number in range(5))]
    assert_refused(make(tmp_path / "x", dict.fromkeys(names, b"")), tmp_path / "out", "more than 5 files")


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("d/" * 3000 + "x", "a path of 3001 folders"),
        ("ä" * 150 + "/x", "a name of 300 bytes"),
        (("d" * 200 + "/") * 30 + "x", "a path of 6032 bytes"),
    ],
)
def test_paths_too_long_for_file_systems_are_refused(tmp_path, make, name, match, monkeypatch):
    monkeypatch.setattr("pipeline.tools.unpack.os.fsencode", lambda text: os.fspath(text).encode("ascii"))
    message = assert_refused(make(tmp_path / "x", {"a": b"", name: b"x"}), tmp_path / "out", match)
    assert "damaged" not in message
    assert len(message) < 1000


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_escapes_in_names_are_shown_escaped(tmp_path, make, capsys):
    name = "../\x1b[2J\x1b]0;title\x07\r\u202egnp.x"
    assert main(["unpack", str(make(tmp_path / "x", {name: b"x"})), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert r"..\x1b[2J\x1b]0;title\x07\r\u202egnp.x".replace("..", "../", 1) in error
    assert not {"\x1b", "\x07", "\r", "\u202e"} & {*error}


@pytest.mark.parametrize("data", [{}, {"__MACOSX/._a": b"x"}, {"folder/": b""}])
def test_an_archive_without_files_is_refused(tmp_path, data):
    assert_refused(make_zip(tmp_path / "x.zip", data), tmp_path / "out", "an archive without files")


def test_a_zip_that_claims_more_than_it_has_is_refused(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"a.bin": b"123"}).read_bytes())
    position = data.index(b"PK\x01\x02") + 24
    data[position : position + 4] = (10**6).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    assert_refused(tmp_path / "x.zip", tmp_path / "out", "damaged")
    assert_refused(tmp_path / "x.zip", tmp_path / "out", "more than 1000 bytes", max_bytes=1000)


def test_zip_methods_that_cannot_be_read_are_named(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"a.bin": b"123"}).read_bytes())
    for signature, field in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + field] = 9
    (tmp_path / "x.zip").write_bytes(data)
    assert "7-Zip" in assert_refused(tmp_path / "x.zip", tmp_path / "out", "compression method 9")


def test_an_xz_file_with_a_huge_dictionary_is_refused(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 16}]
    data = bytearray(lzma.compress(member() + END, filters=filters, check=lzma.CHECK_NONE))
    position = data.index(bytes((lzma.FILTER_LZMA2, 1)), 12) + 2  # the property of the first block
    data[position] = 40  # 4 GB
    header_size = (data[12] + 1) * 4
    data[12 + header_size - 4 : 12 + header_size] = zlib.crc32(data[12 : 12 + header_size - 4]).to_bytes(4, "little")
    (tmp_path / "x.txz").write_bytes(data)
    assert_refused(tmp_path / "x.txz", tmp_path / "out", "needs more memory")


def test_several_streams_and_padding_of_xz_are_read(tmp_path):
    data = member() + END
    (tmp_path / "x.txz").write_bytes(lzma.compress(data[:700]) + bytes(8) + lzma.compress(data[700:]) + bytes(4))
    unpack(tmp_path / "x.txz", tmp_path / "out")
    assert (tmp_path / "out/a").read_bytes() == b"a"


def test_a_zip_with_a_name_that_is_cut_off_is_refused(tmp_path):
    data = make_zip(tmp_path / "x.zip", {"a.bin": b"123", "b.bin": b"4"}).read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(b"a.bin", b"\0.bin"))
    assert_refused(tmp_path / "x.zip", tmp_path / "out", "without a name|damaged")


def packed(tmp_path, files):
    return make_zip(tmp_path / "inner.zip", files).read_bytes()


@pytest.mark.parametrize("name", [".zip", "..zip", "...zip", ".....tar.gz"])
def test_nested_archives_named_by_dots_get_a_folder(tmp_path, name):
    outer = make_zip(tmp_path / "x.zip", {f"d/{name}": packed(tmp_path, {"a.png": b"x"})})
    unpack(outer, tmp_path / "out")
    assert file_names(tmp_path / "out") == ["d/unpacked/a.png"]


@pytest.mark.parametrize(
    "names",
    [["a/z", "a/.z.moved", "a/..z.moved.moved"], ["a/a/a", "a/a/b"], ["a/" + "n" * 255], ["b/a", "a/b"], ["a"]],
)
def test_files_of_nested_archives_keep_names_and_contents(tmp_path, names):
    outer = make_zip(tmp_path / "x.zip", {"a.zip": packed(tmp_path, {name: name.encode() for name in names})})
    unpack(outer, tmp_path / "out")
    contents = {name: (tmp_path / "out" / name).read_bytes().decode() for name in file_names(tmp_path / "out")}
    is_flat = all(name.startswith("a/") for name in names)
    assert contents == {name if is_flat else f"a/{name}": name for name in names}
    assert (tmp_path / "out/a").stat().st_mode == (tmp_path / "out").stat().st_mode


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"PK\x07\x08PK\x03\x04", "several parts"),
        (None, "a zip archive after other data"),
    ],
)
def test_archives_of_other_programs_are_named(tmp_path, start, found):
    data = packed(tmp_path, {"a": b"x"}) if start is None else b""
    (tmp_path / "x").write_bytes((start or b"MZ") + bytes(100) + data)
    message = assert_refused(tmp_path / "x", tmp_path / "out", found)
    assert "unpack it with another program" in message
    assert "download" not in message


@pytest.mark.parametrize(
    ("local", "directory", "bits", "match"),
    [
        (6, 8, 1 << 6, "an encrypted file"),
        (6, 8, 1 << 5, "patched data.*unpack it with another program"),
        (4, 6, 99, "zip file version.*unpack it with another program"),
    ],
)
def test_zip_members_of_rare_kinds_are_no_damage(tmp_path, local, directory, bits, match):
    data = bytearray(packed(tmp_path, {"a.bin": b"123"}))
    for signature, field in ((b"PK\x03\x04", local), (b"PK\x01\x02", directory)):
        data[data.index(signature) + field] |= bits
    (tmp_path / "x.zip").write_bytes(data)
    message = assert_refused(tmp_path / "x.zip", tmp_path / "out", f"(?s){match}")
    assert "damaged" not in message


@pytest.mark.parametrize("comment", [b"", b"comment"])
@pytest.mark.parametrize("field", [30, 32], ids=["extra", "comment"])
def test_a_zip_whose_directory_loses_files_is_damaged(tmp_path, comment, field):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.comment = comment
        for name in ("a", "b"):
            archive.writestr(name, name)
        archive.writestr("c" * (512 - 46), "c")
    data = bytearray((tmp_path / "x.zip").read_bytes())
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[second + field + 1] ^= 2  # 512 bytes: the third entry
    (tmp_path / "x.zip").write_bytes(data)
    assert_refused(tmp_path / "x.zip", tmp_path / "out", "damaged")


@pytest.mark.parametrize("count", [0, 1, 300, 65_534, 65_535, 65_536, 65_537])
@pytest.mark.parametrize("is_64", [True, False])
def test_zip_archives_state_their_number_of_members(tmp_path, count, is_64):
    """Some programs write the lowest 16 bits of a large number in place of a record for large archives."""
    record = b""
    if is_64:
        numbers = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, 0, 0)
        record = numbers + struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    short = min(count, 65_535) if is_64 else count % 65_536
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, short, short, 0, 0, 0)
    (tmp_path / "x.zip").write_bytes(record + end)
    _require_count(tmp_path / "x.zip", count)
    with pytest.raises(zipfile.BadZipFile, match=f"{count + 1} of "):
        _require_count(tmp_path / "x.zip", count + 1)


def test_names_that_the_disk_refuses_are_no_damage(tmp_path, monkeypatch):
    def refuse(path, mode="r", *args, original=Path.open):
        if "x" in mode:
            raise OSError(errno.EINVAL, "Invalid argument", str(path))
        return original(path, mode, *args)

    archive = make_zip(tmp_path / "x.zip", {"aa:b": b"1"})
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises((OSError, OutputError), match="Invalid argument"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_archives_damaged_at_random_are_refused_or_unpacked(tmp_path, make):
    rng = random.Random(3)
    options = {"mode": "w"} if make is make_tar else {}
    whole = make(
        tmp_path / "x", {f"{'long' * 30}/é/{name}": data for name, data in FILES.items()}, **options
    ).read_bytes()
    refused = 0
    for number in range(150):
        data = bytearray(whole)
        for position in rng.choices(range(len(data)), k=3):
            data[position] ^= 1 << rng.randrange(8)
        for start in range(0, len(data) - 511, 512):  # with valid checksums, damage reaches the fields
            if data[start + 257 : start + 262] == b"ustar":
                data[start + 148 : start + 156] = b" " * 8
                data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
        (tmp_path / "x").write_bytes(data)
        try:
            unpack(tmp_path / "x", tmp_path / f"out{number}")
        except RawDataError:
            refused += 1
    assert refused > 20
