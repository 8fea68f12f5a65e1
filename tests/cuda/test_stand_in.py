"""What onnxruntime-gpu does with our graphs, and what we say of its errors, on a machine without a GPU.

The package is the real one: installed, or in the folder that INSTRUCTOR_ONNX_GPU_PACKAGE names, as
`pip install --no-deps -t FOLDER onnxruntime-gpu` makes it. The CUDA libraries are stand_in.py's.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from instructor_onnx.engines.devices import PROVIDER, import_onnxruntime
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.graph.fp32 import Fp32
from instructor_onnx_export.graph.half import Half
from instructor_onnx_export.graph.precision import Precision
from instructor_onnx_export.graph.t5 import write_graph

from tests.cuda import stand_in

MINI = Path(__file__).resolve().parents[2] / "checkpoints/instructor-mini"
GENERATIONS = [75, 80, 89, 90, 120]
FUSED = "AttentionKernel"  # CUTLASS's


@pytest.fixture(scope="module")
def package() -> Path:
    """The folder that has onnxruntime-gpu."""
    onnxruntime = import_onnxruntime()
    named = os.environ.get("INSTRUCTOR_ONNX_GPU_PACKAGE")
    if not named and PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu, installed or in the folder INSTRUCTOR_ONNX_GPU_PACKAGE")
    if not all(map(shutil.which, ("gcc", "nm", "readelf"))):
        pytest.skip("needs gcc and binutils")
    return Path(named) if named else Path(onnxruntime.__file__).parents[1]


@pytest.fixture(scope="module")
def libraries(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    stand_in.build(package, folder)
    if not (folder / "libcudart.so.13").is_file():
        pytest.skip("stand_in.c has the layouts of CUDA 13, and this onnxruntime-gpu wants another")
    return folder


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """instructor-mini's, a folder a variant."""
    folder = tmp_path_factory.mktemp("graphs")
    source = read_checkpoint(MINI)
    precisions: dict[str, Precision] = {
        "fp32": Fp32(),
        "fp16": Half.fp16(source.config, source.weights),
        "bf16": Half.bf16(source.config, source.weights),
    }
    for variant, precision in precisions.items():
        write_graph(folder / variant, source.config, source.weights, precision)
    return folder


def attention(kernels: list[str]) -> str:
    """How a run computed attention."""
    fused, softmax = (sum(part in name for name in kernels) for part in (FUSED, "oftmax"))
    layers = read_checkpoint(MINI).config.num_layers
    assert sorted((fused, softmax)) == [0, layers]
    return "fused" if fused else "unfused"


@pytest.mark.parametrize("sm", GENERATIONS)
@pytest.mark.parametrize("variant", ["fp32", "fp16", "bf16"])
def test_the_attention_of_each_generation(package: Path, libraries: Path, graphs: Path, variant: str, sm: int) -> None:
    found, printed = stand_in.run(package, libraries, graphs / variant / "model.onnx", [12, 64, 128, 512], sm=sm)
    assert printed == ""  # no warning of a device, of operators on the CPU, of libraries
    if (variant, sm) == ("bf16", 75):
        assert found.startswith("DeviceError: device='cuda:0': bf16 wants a GPU of compute capability 8.0 (Ampere)")
        return
    half = "unfused" if variant == "fp32" else "fused"
    expected = {"12": "unfused", "64": half, "128": half, "512": half}  # 12: why the runtime pads to a multiple of 8
    assert {length: attention(kernels) for length, kernels in found.items()} == expected


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("fp16", ["Norm", "Relu", "Norm", "Split", "Attention"]),
        ("bf16", ["Cast", "Norm", "Cast", "Relu", "Cast", "Norm", "Cast", "Split", "Attention"]),
    ],
)
def test_the_passes_of_a_layer_beside_its_four_products(
    package: Path, libraries: Path, graphs: Path, variant: str, expected: list[str]
) -> None:
    found, _ = stand_in.run(package, libraries, graphs / variant / "model.onnx", [64])
    kernels = found["64"]
    first, second, *_ = (place for place, name in enumerate(kernels) if FUSED in name)
    passes = [re.search("SkipLayer(Norm)|Relu|Split|Attention|Cast", name) for name in kernels[first + 1 : second + 1]]
    assert [match and (match[1] or match[0]) for match in passes] == expected
    # Their squares are added up in fp32: what these kernels take as epsilon is a float.
    norms = [name for name in kernels if "SkipLayerNorm" in name]
    assert norms
    assert all(name.endswith("fii") for name in norms)


@pytest.mark.parametrize("variant", ["fp32", "fp16", "bf16"])
def test_small_runs_are_recorded_once_a_shape_and_replayed(
    package: Path, libraries: Path, graphs: Path, variant: str
) -> None:
    found, printed = stand_in.run(
        package, libraries, graphs / variant / "model.onnx", [30, 64, 20, 600, 5], batch=1, twice=True
    )
    assert printed == ""
    kernels = found["600"][1]["kernel"]
    # Two ordinary runs for what they allocate, one that is recorded, and its first replay.
    recorded, replayed = {"kernel": 3 * kernels, "record": 1, "replay": 1}, {"replay": 1}
    expected = {"30": [recorded, replayed], "64": [recorded, replayed]}
    expected |= {length: [replayed, replayed] for length in ("20", "5")}  # as 30; as the text of its opening
    assert {length: found[length] for length in expected} == expected
    assert not {"record", "replay"} & set(found["600"][0])  # too long to be recorded
    assert found["end"] == {}  # `release_captured_graph` gave nothing back: why the shapes are few


def without(libraries: Path, folder: Path, name: str) -> Path:
    """A copy in which one library is an empty file, so that none of the system's is found in its place."""
    shutil.copytree(libraries, folder / "libraries")
    (library,) = (folder / "libraries").glob(f"{name}.so*")
    library.write_bytes(b"")
    return folder / "libraries"


@pytest.mark.parametrize("variant", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("library", ["libcublas", "libcublasLt", "libcurand", "libcudart"])
def test_a_library_that_is_missing_is_named(
    package: Path, libraries: Path, graphs: Path, tmp_path: Path, library: str, variant: str
) -> None:
    folder = without(libraries, tmp_path, library)
    found, _ = stand_in.run(package, folder, graphs / variant / "model.onnx", [8])
    assert found.startswith("DeviceError: device='cuda:0': onnxruntime 1.")
    assert f"(it wants CUDA 13 and cuDNN 9): {library}.so." in found
    assert "cannot be loaded. pip install 'onnxruntime-gpu[cuda,cudnn]'" in found


@pytest.mark.parametrize("variant", ["fp32", "fp16", "bf16"])
def test_half_precision_alone_wants_cudnn(
    package: Path, libraries: Path, graphs: Path, tmp_path: Path, variant: str
) -> None:
    folder = without(libraries, tmp_path, "libcudnn")
    found, _ = stand_in.run(package, folder, graphs / variant / "model.onnx", [64])
    if variant == "fp32":
        assert list(found) == ["64"]
    else:
        assert found.startswith("DeviceError: device='cuda:0': cuDNN 9 cannot be loaded. pip install")


def test_a_gpu_that_the_package_has_no_code_for(package: Path, libraries: Path, graphs: Path) -> None:
    found, _ = stand_in.run(package, libraries, graphs / "fp16/model.onnx", [8], sm=100)
    assert found.startswith("DeviceError: device='cuda:0': this onnxruntime has no code for this GPU")


@pytest.mark.parametrize(
    ("megabytes", "expected"),
    [
        (4, "the GPU has no memory for its weights"),
        (64, "GpuOutOfMemoryError: the GPU has no memory for a run of 8192 tokens"),
    ],
)
def test_memory_that_is_short(package: Path, libraries: Path, graphs: Path, megabytes: int, expected: str) -> None:
    found, printed = stand_in.run(
        package, libraries, graphs / "fp16/model.onnx", [512], batch=16, memory=megabytes << 20
    )
    assert expected in found
    assert printed == ""
