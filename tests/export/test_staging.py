"""A folder that is complete or absent: killed at any moment, two at once, links, what earlier ones have left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from instructor_onnx import lock
from instructor_onnx_export import staging
from instructor_onnx_export.staging import ExportError, staged

KILLED = Path(__file__).with_name("killed_exports.py")


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_bundle(folder: Path, text: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)
    return folder


def write(target: Path, *, overwrite: bool = False) -> None:
    with staged(target, overwrite=overwrite) as folder:
        (folder / "manifest.json").write_text("new")


def interrupted(folder: Path) -> None:
    (folder / "manifest.json").write_text("new")
    raise KeyboardInterrupt


def said(bundle: Path) -> str:
    return (bundle / "manifest.json").read_text()


def test_nothing_is_left_but_the_bundle(tmp_path: Path) -> None:
    write(tmp_path / "deep/er/b")
    assert said(tmp_path / "deep/er/b") == "new"
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    write(tmp_path / "empty", overwrite=True)
    assert left_in(tmp_path) == ["deep", "empty"]
    assert left_in(tmp_path / "deep/er") == ["b"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b")
    for target in (tmp_path / "b", tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt), staged(target, overwrite=True) as folder:
            interrupted(folder)
    assert said(tmp_path / "b") == "old"
    assert left_in(tmp_path) == ["b"]


def test_the_bundle_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    write(tmp_path / "b")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("way", ["exchange", "rename"])
def test_killed_at_any_moment_it_leaves_a_whole_bundle(way: str, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-W", "ignore", str(KILLED), str(staging.__file__), str(tmp_path / "work"), way]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert len(lines) > 15
    assert {tuple(line[2:]) for line in lines} == {("next", "b")}  # the next export works, and nothing else is left
    after_kill, put_back = [line[0] for line in lines], [line[1] for line in lines]
    assert set(put_back) == {"old", "new"}
    absent = {"absent"} if way == "rename" or sys.platform != "linux" else set()
    assert set(after_kill) == {"old", "new"} | absent
    assert after_kill[-1] == "new"  # the last was not killed


def test_two_at_once_are_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    with staged(tmp_path / "real", overwrite=False) as folder:
        for same in (tmp_path / "real", tmp_path / "link", tmp_path / "real/../real"):
            with pytest.raises(ExportError, match="real: another export writes there"), staged(same, overwrite=True):
                pytest.fail("the second began")
        write(tmp_path / "real.partial-1")  # another target's folder
        (folder / "manifest.json").write_text("first")
    assert said(tmp_path / "real") == "first"
    assert left_in(tmp_path) == ["link", "real", "real.partial-1"]


def test_a_lock_file_that_lost_its_name_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened just before its owner removed it at its end: by now a third may hold another file of that name."""
    third: list[int] = []
    try_lock = lock._try_lock

    def owner_ends_and_third_begins(descriptor: int) -> None:
        if not third:
            (tmp_path / ".b.lock").unlink()
            third.append(os.open(tmp_path / ".b.lock", os.O_RDWR | os.O_CREAT))
            try_lock(third[0])
        try_lock(descriptor)

    monkeypatch.setattr(lock, "_try_lock", owner_ends_and_third_begins)
    with pytest.raises(ExportError, match="another export writes there"):
        write(tmp_path / "b")
    os.close(third[0])
    write(tmp_path / "b")  # the lock file of an export that was killed
    assert left_in(tmp_path) == ["b"]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock, "_try_lock", fail)
    with pytest.raises(ExportError, match=r"b: the file system cannot lock files \(Function not impl.*local folder"):
        write(tmp_path / "b")


def test_what_killed_exports_have_left_is_removed(tmp_path: Path) -> None:
    """Those of earlier versions too, whose folders bore the number of their process: in a container, always 1."""
    for name in (".b.partial-1", ".b.partial-1-old", f".b.partial-{os.getpid()}", ".b.partial-0123456789abcdef"):
        make_bundle(tmp_path / name)
    make_bundle(tmp_path / "b")
    others = [".b.partial-1.partial-2", ".b.partial-mine", ".bb.partial-1", "a.b.partial-1"]
    for name in others:
        make_bundle(tmp_path / name)
    write(tmp_path / "b", overwrite=True)
    assert left_in(tmp_path) == sorted(["b", *others])


def test_a_bundle_that_was_about_to_be_replaced_is_put_back(tmp_path: Path) -> None:
    make_bundle(tmp_path / ".b.partial-1-old")
    make_bundle(tmp_path / ".b.partial-1", "half")
    with pytest.raises(ExportError, match="there is a bundle already"):
        write(tmp_path / "b")
    assert said(tmp_path / "b") == "old"
    assert left_in(tmp_path) == ["b"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    make_bundle(tmp_path / "disk/b")
    (tmp_path / "b").symlink_to("disk/b")
    with pytest.raises(ExportError, match="there is a bundle already"):
        write(tmp_path / "b")
    write(tmp_path / "b", overwrite=True)
    assert (tmp_path / "b").readlink() == Path("disk/b")
    assert said(tmp_path / "disk/b") == "new"
    assert (left_in(tmp_path), left_in(tmp_path / "disk")) == (["b", "disk"], ["b"])


@pytest.mark.parametrize("leads_to", ["nothing", "file", "itself"])
def test_a_link_that_leads_to_no_folder(leads_to: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "itself").symlink_to(leads_to)
    with pytest.raises(ExportError, match="itself: a link that leads to no folder; remove it"):
        write(tmp_path / "itself")
    assert left_in(tmp_path) == ["file", "itself"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"file: exists and is not a bundle"):
        write(tmp_path / "file")
    with pytest.raises(ExportError, match=r"file/b: cannot be written there \("):
        write(tmp_path / "file/b")
    with pytest.raises(ExportError, match=r"x: cannot be written there \(File name too long\)"):
        write(tmp_path / ("x" * 5000))
    with pytest.raises(ExportError, match="a file system is mounted there; name a folder in it"):
        write(Path("/"))


def test_what_has_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is a bundle already"), staged(tmp_path / "b", overwrite=False):
        make_bundle(tmp_path / "b", "another's")
    assert said(tmp_path / "b") == "another's"
    with pytest.raises(ExportError, match="is not a bundle"), staged(tmp_path / "b", overwrite=True):
        (tmp_path / "b/manifest.json").rename(tmp_path / "b/chapter.tex")
    assert left_in(tmp_path / "b") == ["chapter.tex"]
    assert left_in(tmp_path) == ["b"]
