import io
import os
import stat
import tarfile
import zipfile

import pytest
from rawfiles import make_drive, make_tgs
from sources import opened

from pipeline.cli.main import main
from pipeline.core.errors import OutputError, RawDataError
from pipeline.tools.unpack import unpack


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
