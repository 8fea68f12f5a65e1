"""Bundles from a Hugging Face hub."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR, BundleError, cli
from instructor_onnx.hub import HubOptions, download, local_folder

from tests.fake_hub import TOKEN, FakeHub

huggingface_hub: Any = pytest.importorskip("huggingface_hub")

REPO = "someone/my-bundle"
FILES_OF_FP32 = {"manifest.json", "tokenizer.json", "fp32/model.onnx", "fp32/model.onnx.data"}


@pytest.fixture
def hub(fake_hub: FakeHub, bundle: Path) -> FakeHub:
    """The hub with `bundle` published."""
    fake_hub.publish(REPO, bundle)
    return fake_hub


def test_only_the_chosen_variant_is_downloaded(hub: FakeHub, bundle: Path) -> None:
    model = INSTRUCTOR(REPO, device="cpu")
    assert set(hub.fetched) == FILES_OF_FP32
    assert len(hub.fetched) == len(FILES_OF_FP32)  # each once
    expected = INSTRUCTOR(bundle, device="cpu").encode("a text")
    np.testing.assert_array_equal(model.encode("a text"), expected)
    hub.fetched.clear()
    assert INSTRUCTOR(REPO, device="cpu", variant="int8").variant == "int8"
    assert set(hub.fetched) == {"int8/model.onnx", "int8/model.onnx.data"}


def test_a_variant_that_is_not_there_is_found_before_any_weights(hub: FakeHub) -> None:
    with pytest.raises(ValueError, match="variant='fp16': .* has fp32, int8"):
        INSTRUCTOR(REPO, variant="fp16", device="cpu")
    assert set(hub.fetched) == {"manifest.json", "tokenizer.json"}


def test_revision(hub: FakeHub, bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text("{}")
    hub.publish(REPO, other, revision="v2")
    assert (download(REPO, ["manifest.json"], HubOptions(revision="v2")) / "manifest.json").read_text() == "{}"
    main = download(REPO, ["manifest.json"], HubOptions())
    assert (main / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()
    found = hub.find(REPO, "v2")
    assert found is not None
    assert download(REPO, ["manifest.json"], HubOptions(revision=found[0])).name == found[0]


def test_cache_folder(hub: FakeHub, tmp_path: Path) -> None:
    folder = download(REPO, ["manifest.json"], HubOptions(cache_folder=tmp_path / "elsewhere"))
    assert folder.is_relative_to(tmp_path / "elsewhere")
    assert not (tmp_path / "cache").exists()


def test_private_repositories_need_a_token(hub: FakeHub) -> None:
    hub.private = {REPO}
    assert download(REPO, ["manifest.json"], HubOptions(token=TOKEN)).is_dir()
    with pytest.raises(FileNotFoundError, match="neither a local folder nor to be had from the Hugging Face hub"):
        download(REPO, ["tokenizer.json"], HubOptions(token="hf_wrong"))


def test_offline_use(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=f"'{REPO}' is neither a local folder nor to be had"):
        INSTRUCTOR(REPO, device="cpu", local_files_only=True)
    online = INSTRUCTOR(REPO, device="cpu").encode("a text")
    hub.fetched.clear()
    hub.revisions = {}
    np.testing.assert_array_equal(INSTRUCTOR(REPO, device="cpu", local_files_only=True).encode("a text"), online)
    # a hub that cannot be reached is the same as none, for what is in the cache
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    np.testing.assert_array_equal(INSTRUCTOR(REPO, device="cpu").encode("a text"), online)
    assert hub.fetched == []


def test_offline_without_the_variant(hub: FakeHub) -> None:
    INSTRUCTOR(REPO, device="cpu")
    with pytest.raises(FileNotFoundError, match=REPO):
        INSTRUCTOR(REPO, device="cpu", variant="int8", local_files_only=True)


@pytest.mark.parametrize(("repo", "revision"), [("someone/else", None), (REPO, "v9")])
def test_no_such_repository_or_revision(hub: FakeHub, repo: str, revision: str | None) -> None:
    with pytest.raises(FileNotFoundError, match=f"'{repo}' is neither a local folder nor to be had"):
        INSTRUCTOR(repo, revision=revision, device="cpu")


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        ("config.json", BundleError, "This is a checkpoint: run `instructor-onnx export` on it first"),
        ("notes.txt", FileNotFoundError, "'someone/else': the repository has none of manifest.json"),
    ],
)
def test_a_repository_that_is_no_bundle(
    hub: FakeHub, tmp_path: Path, file: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / file).write_text("{}")
    hub.publish("someone/else", tmp_path / "repo")
    with pytest.raises(error, match=message):
        INSTRUCTOR("someone/else", device="cpu")


def test_a_download_that_breaks_off(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries
    hub.breaks_at = "fp32/model.onnx.data"
    with pytest.raises(FileNotFoundError, match="nor to be had"):
        INSTRUCTOR(REPO, device="cpu")
    hub.breaks_at = None
    assert INSTRUCTOR(REPO, device="cpu").variant == "fp32"


def test_the_command_takes_an_id(hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("a\nb\n")
    arguments = ["encode", REPO, str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.npy"), "--device", "cpu"]
    assert cli.main([*arguments, "--offline"]) == 1
    assert "nor to be had from the Hugging Face hub" in capsys.readouterr().err
    assert cli.main([*arguments, "--cache-folder", str(tmp_path / "mine"), "--revision", "main"]) == 0
    assert len(np.load(tmp_path / "out.npy")) == 2
    assert (tmp_path / "mine").is_dir()


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "huggingface_hub":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "huggingface_hub", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"'someone/my-bundle' is not a local folder.*pip install .*\[hub\]"):
        INSTRUCTOR(REPO, device="cpu")


@pytest.mark.parametrize("name", ["/no/such/folder", "../somewhere", "a/b/c", "a b"])
def test_neither_a_folder_nor_an_id(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder \(and not a Hugging Face id\)"):
        local_folder(name)


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="is a file; expected a folder"):
        INSTRUCTOR(tmp_path / "model.onnx", device="cpu")
