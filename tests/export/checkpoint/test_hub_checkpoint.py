"""Export of a checkpoint by its Hugging Face id."""

from __future__ import annotations

from pathlib import Path

import pytest
from instructor_onnx import Manifest
from instructor_onnx.hub import HubOptions
from instructor_onnx_export import CheckpointError, export
from instructor_onnx_export.checkpoint.read import read_checkpoint

from tests.checkpoints import make_checkpoint
from tests.fake_hub import TOKEN, FakeHub

REPO = "someone/instructor-base"


@pytest.mark.parametrize("weight_format", ["safetensors", "sharded", "bin"])
def test_an_id_gives_the_bundle_of_its_folder(fake_hub: FakeHub, tmp_path: Path, weight_format: str) -> None:
    folder = make_checkpoint(tmp_path / "c", weight_format=weight_format)
    fake_hub.publish(REPO, folder)
    manifest = export(REPO, tmp_path / "from-hub", show_progress=False)
    assert manifest.model.name == REPO
    assert manifest.files() == export(folder, tmp_path / "from-folder", show_progress=False).files()
    assert manifest.model.source_sha256 == Manifest.read(tmp_path / "from-folder").model.source_sha256
    pickles = [path for path in fake_hub.fetched if path.endswith(".bin")]
    assert bool(pickles) == (weight_format == "bin")  # downloaded only where there is nothing safer


def test_what_export_does_not_read_is_not_downloaded(fake_hub: FakeHub, base_checkpoint: Path) -> None:
    fake_hub.publish(REPO, base_checkpoint)
    extra = dict.fromkeys(("tf_model.h5", "flax_model.msgpack", "onnx/model.onnx", "pytorch_model.bin"), b"weights")
    fake_hub.revisions[REPO]["main"] |= extra
    read_checkpoint(REPO)
    assert not set(extra) & set(fake_hub.fetched)


def test_revision_token_and_offline_use(fake_hub: FakeHub, base_checkpoint: Path, tmp_path: Path) -> None:
    fake_hub.publish(REPO, base_checkpoint)
    fake_hub.publish(REPO, make_checkpoint(tmp_path / "v2", num_layers=1), revision="v2")
    fake_hub.private = {REPO}
    with pytest.raises(FileNotFoundError, match=REPO):
        read_checkpoint(REPO)
    assert read_checkpoint(REPO, HubOptions(revision="v2", token=TOKEN)).config.num_layers == 1
    fake_hub.fetched.clear()
    offline = HubOptions(revision="v2", local_files_only=True)
    assert read_checkpoint(REPO, offline).config.num_layers == 1
    assert fake_hub.fetched == []


def test_a_link_out_of_the_cache_is_refused(fake_hub: FakeHub, base_checkpoint: Path, tmp_path: Path) -> None:
    """Files of a snapshot are links into the cache; one that leads elsewhere was put there by somebody else."""
    fake_hub.publish(REPO, base_checkpoint)
    snapshot = read_checkpoint(REPO).folder
    (tmp_path / "secret.json").write_text((snapshot / "config.json").read_text())
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(CheckpointError, match="leads out of the folder"):
        read_checkpoint(REPO, HubOptions(local_files_only=True))
