"""What tests of every package share: small checkpoints, and the folder beside the project where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import PROJECT
from benchmarks.compare import environments
from tests.checkpoints import make_checkpoint, make_tokenizer
from tests.fake_hub import FakeHub, connected, serving

MINI = PROJECT / "checkpoints" / "instructor-mini"
SHARED = Path(__file__).resolve().parents[2] / "shared"

# Every member of the family that must export, by what sets it apart from `base`.
FAMILY: dict[str, dict[str, Any]] = {
    "base": {},
    "xl": {"d_kv": 16, "d_ff": 128},  # inner width 64, d_model 32
    "gated": {"gated": True},
    "no-dense": {"dense_dim": None},
    "no-normalize": {"normalize": False},
    "bare": {"dense_dim": None, "normalize": False},
    "bin": {"weight_format": "bin"},
    "sharded": {"weight_format": "sharded", "tokenizer": "spiece"},
}


@pytest.fixture(scope="session")
def tokenizer_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small vocabulary: `spiece.model`, `tokenizer.json`, `tokenizer_config.json`."""
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def base_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small checkpoint; read it, do not change it."""
    return make_checkpoint(tmp_path_factory.mktemp("base") / "instructor-base")


@pytest.fixture
def editable(base_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of `base_checkpoint` for a test to change."""
    return Path(shutil.copytree(base_checkpoint, tmp_path / base_checkpoint.name))


@pytest.fixture(scope="session", params=list(FAMILY))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small checkpoint, of each kind in FAMILY; read it, do not change it."""
    name: str = request.param
    return make_checkpoint(tmp_path_factory.mktemp(name) / f"instructor-{name}", **FAMILY[name])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the project (real vocabulary, reference vectors); skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"needs {SHARED.name}/ beside the project: reference vectors and the real vocabulary")
    return SHARED


@pytest.fixture(scope="session")
def bundle(base_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle (fp32, int8, int4) of `base_checkpoint`; read it, do not change it."""
    return exported(base_checkpoint, tmp_path_factory)


@pytest.fixture(scope="session")
def family_bundle(family: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle (fp32, int8, int4) of `family`; read it, do not change it."""
    return exported(family, tmp_path_factory)


@pytest.fixture(scope="session")
def optimum_python() -> Path:
    """The Python of the environment that the benchmark makes for optimum, which wants libraries of its own."""
    python = environments.made("optimum", PROJECT / ".cache" / "compare" / "envs")
    if python is None:
        pytest.skip("needs optimum's environment: make bench OPTIONS='--rivals optimum --prepare-only'")
    return python


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """instructor-mini with fp32 too; read it, do not change it."""
    from instructor_onnx_export import export

    folder = tmp_path_factory.mktemp("bundles") / "instructor-mini"
    export(MINI, folder, variants=["fp32", "int8"], show_progress=False)
    return folder


def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export `checkpoint`, and with it run the whole verification."""
    from instructor_onnx_export import export

    folder = tmp_path_factory.mktemp("bundles") / checkpoint.name
    variants = ["fp32", "int8", "int4"]
    manifest = export(checkpoint, folder, variants=variants, show_progress=False)
    assert list(manifest.variants) == variants, "a variant was left out; the logged warning says why"
    return folder


@pytest.fixture(scope="session")
def hub_server() -> Iterator[FakeHub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def fake_hub(hub_server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub that huggingface_hub reaches in this test: nothing published, nothing in its cache."""
    with connected(hub_server, tmp_path / "cache", monkeypatch) as hub:
        yield hub
