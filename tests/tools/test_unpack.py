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


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def zip_folder(folder, path, top=""):
    return zipped(
        path,
        {
            top + str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    )


def standing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refused(archive, folder, match, kind=RawDataError, **options):
    with pytest.raises(kind, match=match) as caught:
        unpack(archive, folder, **options)
    assert not folder.exists() or not any(folder.iterdir())
    assert not [name for name in os.listdir(folder.parent) if "partial" in name]
    return str(caught.value)


FILES = {"a/1.txt": b"one", "a/b/2.txt": b"two" * 1000, "a/leer.txt": b""}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_of_every_compression_are_told_by_their_first_bytes(tmp_path, mode):
    unpack(tarred(tmp_path / "archive.dat", FILES, mode), tmp_path / "out")
    assert standing(tmp_path / "out") == sorted(FILES)
    assert (tmp_path / "out/a/b/2.txt").read_bytes() == b"two" * 1000


def test_zip_of_drive_becomes_a_root_that_is_said_and_listed(tmp_path, drive, capsys):
    archive = zip_folder(drive, tmp_path / "DRIVE.zip", top="DRIVE/")
    assert main(["unpack", str(archive), str(tmp_path / "raw")]) == 0
    said = capsys.readouterr()
    root = tmp_path / "raw" / "DRIVE"
    assert f"root: {root}" in said.out + said.err
    assert "layout: drive" in said.out + said.err
    raw = opened("d", "drive", root, test={"rule": "official"})
    assert len(raw.splits["test"]) == 3


def test_archives_inside_become_folders_of_their_name(tmp_path, tgs, capsys):
    flat = zip_folder(tgs / "train", tmp_path / "train.zip").read_bytes()
    under = zip_folder(tgs / "test", tmp_path / "test.zip", top="test/").read_bytes()
    tables = {name: (tgs / name).read_bytes() for name in ("train.csv", "depths.csv")}
    outer = zipped(tmp_path / "competition_data.zip", {"train.zip": flat, "test.zip": under, **tables})
    unpack(outer, tmp_path / "out")
    assert standing(tmp_path / "out") == standing(tgs)
    assert "layout: tgs" in capsys.readouterr().err
    assert len(opened("t", "tgs", tmp_path / "out").splits["unlabelled"]) == 2


def test_a_zip_file_of_another_kind_inside_stays_as_it_is(tmp_path):
    table = zipped(tmp_path / "x.zip", {"sheet.xml": b"<x/>"}).read_bytes()
    unpack(zipped(tmp_path / "y.zip", {"table.xlsx": table, "scan.nii.gz": b"\x1f\x8bxx"}), tmp_path / "out")
    assert standing(tmp_path / "out") == ["scan.nii.gz", "table.xlsx"]


@pytest.mark.parametrize("name", ["../x.txt", "/etc/x.txt", "a/../../x.txt", "..\\x.txt", "C:\\x.txt"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_paths_that_lead_out_are_refused(tmp_path, name, make):
    refused(make(tmp_path / "x", {"a.txt": b"a", name: b"x"}), tmp_path / "out", "leads out of the folder")
    assert not (tmp_path / "x.txt").exists()


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo("thing")
        member.type, member.linkname = kind, "../../etc/passwd"
        refused(tarred(tmp_path / "x.tar", {member: b""}, "w"), tmp_path / "out", "a link or device")
    link = zipfile.ZipInfo("thing")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    refused(zipped(tmp_path / "x.zip", {link: b"/etc/passwd"}), tmp_path / "out", "a link or device")


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("names", [("A.png", "a.png"), ("\u00e9.png", "e\u0301.png"), ("a", "a/b"), ("Ab/1", "aB/2")])
def test_names_that_are_one_on_other_machines_are_refused(tmp_path, names, make):
    refused(make(tmp_path / "x", dict.fromkeys(names, b"1")), tmp_path / "out", "collides|damaged|twice")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_bomb_stops_at_the_limit(tmp_path, make):
    bomb = make(tmp_path / "x", {"zeros": bytes(5_000_000)})
    assert bomb.stat().st_size < 50_000
    refused(bomb, tmp_path / "out", "more than 1000000 bytes", max_bytes=1_000_000)
    unpack(bomb, tmp_path / "out", max_bytes=5_000_000)
    nested = zipped(tmp_path / "y", {"x.zip" if make is zipped else "x.tgz": bomb.read_bytes()})
    refused(nested, tmp_path / "deep", "more than 1000000 bytes", max_bytes=1_000_000)


def test_a_size_that_the_header_denies_is_counted_while_writing(tmp_path):
    data = bytearray(zipped(tmp_path / "x.zip", {"zeros": bytes(3_000_000)}).read_bytes())
    for start, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(start) + at
        data[place : place + 4] = (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", tmp_path / "out", "damaged|more than", max_bytes=1000)


def test_too_many_files_and_too_deep_archives_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.tools.unpack.MAX_FILES", 5)
    refused(zipped(tmp_path / "x.zip", {str(n): b"" for n in range(6)}), tmp_path / "out", "more than 5 files")
    data = b"x"
    for level in range(5):
        data = zipped(tmp_path / "x.zip", {f"{level}.zip" if level else "x.txt": data}).read_bytes()
    refused(tmp_path / "x.zip", tmp_path / "out", "archives in archives")


def test_encrypted_files_are_refused_by_name(tmp_path):
    data = bytearray(zipped(tmp_path / "x.zip", {"secret.png": b"123"}).read_bytes())
    for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(start) + at] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert "secret.png" in refused(tmp_path / "x.zip", tmp_path / "out", "an encrypted file")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_damaged_and_cut_off_archives_leave_nothing(tmp_path, make):
    whole = make(tmp_path / "x", {"a.bin": os.urandom(3000), "b.bin": os.urandom(3000)}).read_bytes()
    for share in (0.3, 0.6, 0.9, 0.999):
        (tmp_path / "x").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / "x", tmp_path / "out", "damaged|without its end")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 16
    (tmp_path / "x").write_bytes(flipped)
    refused(tmp_path / "x", tmp_path / "out", "damaged")


def test_what_other_systems_leave_behind_is_left_out_and_said(tmp_path, capsys):
    clutter = {"__MACOSX/a/._1.png": b"x", "a/.DS_Store": b"x", "a/Thumbs.db": b"x", "a/._1.png": b"x"}
    unpack(zipped(tmp_path / "x.zip", {"a/1.png": b"1", **clutter}), tmp_path / "out")
    assert standing(tmp_path / "out") == ["a/1.png"]
    said = capsys.readouterr().err
    assert "4 left out" in said
    assert f"root: {tmp_path / 'out' / 'a'}" in said


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path):
    (tmp_path / "out").mkdir()
    archive = zipped(tmp_path / "x.zip", FILES)
    unpack(archive, tmp_path / "out")  # empty: taken
    before = standing(tmp_path / "out")
    with pytest.raises(OutputError, match="a new or an empty folder"):
        unpack(archive, tmp_path / "out")
    assert standing(tmp_path / "out") == before


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"<html>please log in</html>")
    refused(tmp_path / "x.zip", tmp_path / "out", "a file of another kind")
    refused(tmp_path / "gone.zip", tmp_path / "out", "nothing")


def test_a_root_that_is_an_archive_is_refused_with_the_command(tmp_path, capsys):
    make_tgs(tmp_path / "TGS", labelled=2, unlabelled=1)
    archive = zip_folder(tmp_path / "TGS", tmp_path / "my tgs.zip")
    with pytest.raises(RawDataError) as caught:
        opened("salt", "tgs", archive)
    command = f"python -m pipeline unpack '{archive}' '{tmp_path / 'my tgs'}'"
    assert command in str(caught.value)


def test_a_layout_is_recognised_below_the_top_folder_only_where_its_folders_stand(tmp_path, capsys):
    make_drive(tmp_path / "D", training=1, test=0)
    unpack(zip_folder(tmp_path / "D", tmp_path / "x.zip"), tmp_path / "out")
    assert f"root: {tmp_path / 'out'}\n" in capsys.readouterr().err
