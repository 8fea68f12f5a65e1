"""The bundle on disk, and what is said of a bad one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from instructor_onnx.bundle import (
    FORMAT_VERSION,
    BundleError,
    File,
    Manifest,
    Model,
    Variant,
    Verification,
    check_hashes,
    check_sizes,
    describe_file,
    resolve_inside,
    size_of,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose files hold a few bytes each: enough for everything but opening it."""
    root = tmp_path / "bundle"
    (root / "fp32").mkdir(parents=True)
    (root / "tokenizer.json").write_text("{}")
    (root / "fp32/model.onnx").write_bytes(b"model")
    (root / "fp32/model.onnx.data").write_bytes(b"data")
    model = Model(
        name="small",
        d_model=8,
        d_ff=16,
        d_kv=4,
        num_heads=2,
        num_layers=1,
        vocab_size=32,
        feed_forward="relu",
        embedding_dim=8,
        max_seq_length=512,
        dense=True,
        normalize=True,
        pad_token_id=0,
        eos_token_id=1,
        source_sha256={"config.json": "00"},
    )
    verification = Verification(
        engine="onnxruntime 1.31.1",
        processor="a processor",
        device="cpu",
        rows=1,
        max_abs_diff=0.0,
        token_max_abs_diff=0.0,
        cosine_mean=1.0,
        cosine_p1=1.0,
        cosine_min=1.0,
        batch_invariant=True,
    )
    files = tuple(describe_file(root, f"fp32/{name}") for name in ("model.onnx", "model.onnx.data"))
    measured = {"onnxruntime": verification}
    variant = Variant(files=files, weight_type="float32", devices=("cpu",), opset=18, verification=measured)
    tokenizer = describe_file(root, "tokenizer.json")
    Manifest(FORMAT_VERSION, "instructor-onnx 0.1.0", model, tokenizer, {"fp32": variant}).write(root)
    return root


def change(folder: Path, path: list[str | int], value: Any) -> None:
    """Set one field of the manifest; value None deletes it."""
    data = json.loads((folder / "manifest.json").read_text())
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    (folder / "manifest.json").write_text(json.dumps(data))


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(folder)
    manifest.write(tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    assert manifest.variants["fp32"].files[0] == File(
        "fp32/model.onnx", 5, describe_file(folder, "fp32/model.onnx").sha256
    )
    check_hashes(folder, manifest.files())


def test_an_unverified_variant_may_be_read(folder: Path) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    data["variants"]["fp32"]["verification"] = {}
    (folder / "manifest.json").write_text(json.dumps(data))
    assert Manifest.read(folder).variants["fp32"].verification == {}


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder.*instructor-onnx export"):
        Manifest.read(tmp_path / "absent")


def test_a_checkpoint_is_not_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="no manifest.json inside. This is a checkpoint"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2", "\x00", "[" * 100_000], ids=["empty", "open", "list", "nul", "deep"]
)
def test_malformed_json(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest.json: not valid JSON.*Copy the bundle again"):
        Manifest.read(folder)


@pytest.mark.parametrize("version", [0, 1, 3, "2", True, 2.5])
def test_unknown_version(folder: Path, version: Any) -> None:
    change(folder, ["format_version"], version)
    with pytest.raises(BundleError, match=r"reads 2. Upgrade instructor-onnx or export the checkpoint again"):
        Manifest.read(folder)


def test_a_version_that_only_equals_it(folder: Path) -> None:
    change(folder, ["format_version"], 2.0)  # equal to 2 in Python
    with pytest.raises(BundleError, match="format_version: expected int"):
        Manifest.read(folder)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["model", "d_model"], "8", "model: d_model: expected int, found '8'"),
        (["model", "d_model"], None, "model: 'd_model' is missing"),
        (["model"], [], "model: expected an object, found list"),
        (["variants", "fp32", "files"], {}, "files: expected a list, found dict"),
        (["variants", "fp32", "files", 0, "bytes"], True, "bytes: expected int, found True"),
        (
            ["variants", "fp32", "verification", "onnxruntime", "rows"],
            "1",
            "verification.onnxruntime: rows: expected int, found '1'",
        ),
        (["variants", "fp32", "verification"], 3, "verification: expected an object, found int"),
        (["variants"], {}, "needs a variant"),
        (["model", "max_seq_length"], 0, "max_seq_length: expected a whole number from 1 to 1,048,575, found 0"),
        (["model", "max_seq_length"], -3, "max_seq_length: expected a whole number from 1 .*, found -3"),
        (["model", "embedding_dim"], 10**30, "embedding_dim: expected a whole number .*, found 1000000000000000000000"),
        (["model", "vocab_size"], 0, "vocab_size: expected a whole number from 1"),
        (["model", "eos_token_id"], -1, "eos_token_id: expected a whole number from 0"),
        (["tokenizer", "bytes"], -1, "tokenizer: bytes: expected a whole number from 0"),
        (["tokenizer", "bytes"], 10**9, "tokenizer: bytes is 1,000,000,000, a tokenizer has at most 67,108,864"),
        (["variants", "fp32", "opset"], 2**40, "opset: expected a whole number from 1 to 999"),
        (["variants", "fp32", "verification", "onnxruntime", "cosine_p1"], 10**400, "cosine_p1: .*a finite number"),
        (["model", "name"], "a\x1b[2J", r"model: name: expected at most 1,000 printable characters, found 'a\\x1b"),
        (["variants", "fp32", "files", 0, "path"], "a\0b", "path: expected at most 1,000 printable characters"),
        (["variants", "fp32", "files", 0, "path"], "a" * 5000, "path: expected at most 1,000 printable"),
        (["variants", "fp32", "files", 0, "path"], "a" * 900, "path 'aaa.* cannot be looked up .*too long"),
        (["variants", "fp32", "files", 0, "path"], "\ud800", "path: expected at most 1,000 printable characters"),
        (["variants", "\ud83d"], {}, r"variants: expected .* printable characters, found '\\ud83d'"),
        (["variants", "fp32", "files", 1, "path"], "tokenizer.json", "files of fp32 lie in more than one folder"),
        (["variants", "fp32", "files"], [], "every variant a file"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, path: list[str | int], value: Any, message: str) -> None:
    change(folder, path, value)
    with pytest.raises(BundleError, match=message):
        Manifest.read(folder)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite(folder: Path, text: str) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"max_abs_diff": 0.0', f'"max_abs_diff": {text}'))
    with pytest.raises(BundleError, match=r"is no number of JSON|max_abs_diff: expected a finite number, found inf"):
        Manifest.read(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "fp32/model.onnx.data"])
def test_a_pipe_in_a_files_place_is_not_opened(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BundleError, match=rf"{name}: (is no regular file|missing)"):
        check_hashes(folder, Manifest.read(folder).files())


def test_a_manifest_too_large_is_not_read(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(10**12)  # a hole: no bytes on the disk
    with pytest.raises(BundleError, match="1,000,000,000,000 bytes, a manifest has at most 1,048,576"):
        Manifest.read(folder)


def test_links_in_a_circle(folder: Path) -> None:
    path = folder / "fp32/model.onnx"
    path.unlink()
    path.symlink_to("model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx.*(cannot be looked up|missing)"):
        check_sizes(folder, Manifest.read(folder).files())


@pytest.mark.parametrize(
    "path", ["../secret", "fp32/../../secret", "/etc/passwd", "C:\\secret", "..\\secret", "", "fp32/../.."]
)
def test_a_path_that_leaves_the_folder(folder: Path, path: str) -> None:
    change(folder, ["variants", "fp32", "files", 0, "path"], path)
    with pytest.raises(BundleError, match="leaves the folder"):
        Manifest.read(folder)


def test_a_link_that_leaves_the_folder(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"model")
    (folder / "fp32/model.onnx").unlink()
    (folder / "fp32/model.onnx").symlink_to(secret)
    with pytest.raises(BundleError, match="a link that leads out of the folder"):
        Manifest.read(folder)


def test_a_link_of_the_hugging_face_cache_is_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots/0123abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs/4711").write_text("content")
    (snapshot / "config.json").symlink_to("../../blobs/4711")
    assert resolve_inside(snapshot, "config.json", named_by=snapshot).read_text() == "content"
    (snapshot / "other").symlink_to("../../../elsewhere")
    with pytest.raises(BundleError, match="leads out"):
        resolve_inside(snapshot, "other", named_by=snapshot)


def test_a_missing_file(folder: Path) -> None:
    manifest = Manifest.read(folder)
    (folder / "fp32/model.onnx.data").unlink()
    with pytest.raises(BundleError, match=r"model.onnx.data: missing. Copy the bundle again"):
        check_sizes(folder, manifest.files("fp32"))


def test_a_truncated_file(folder: Path) -> None:
    manifest = Manifest.read(folder)
    (folder / "fp32/model.onnx.data").write_bytes(b"dat")
    with pytest.raises(BundleError, match=r"3 bytes, manifest.json says 4.*copy the bundle again"):
        check_sizes(folder, manifest.files("fp32"))


def test_a_changed_file(folder: Path) -> None:
    manifest = Manifest.read(folder)
    (folder / "fp32/model.onnx.data").write_bytes(b"date")
    check_sizes(folder, manifest.files())  # a load looks at sizes only
    with pytest.raises(BundleError, match=r"model.onnx.data: sha256 is .*damaged or was changed"):
        check_hashes(folder, manifest.files())


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 KB"),
        (12_345, "12.3 KB"),
        (999_700, "1 MB"),
        (4_960_000_000, "4.96 GB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    assert size_of([File("a", count, "")]) == size_of([File("a", 0, ""), File("b", count, "")]) == expected
