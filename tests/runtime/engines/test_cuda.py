"""The GPU's engine and its error messages, on a machine without a GPU.

The engine runs here on onnxruntime's CPU provider: everything but the device is real, its buffers and bindings too.
onnxruntime is faked only where it would have to fail as it does on a GPU.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from instructor_onnx import INSTRUCTOR, Manifest, loading
from instructor_onnx.engines import cuda, devices, ort, saturation
from instructor_onnx.engines import engine as engine_module
from instructor_onnx.engines.cuda import SEQUENCE_MULTIPLE, CudaSession, GpuOutOfMemoryError
from instructor_onnx.engines.devices import Device, DeviceError, choose_device
from instructor_onnx.engines.ort import Session
from instructor_onnx.tokens import Tokens

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# As users have reported them: the arena, the arena with a limit, the driver, cuBLAS.
OUT_OF_MEMORY = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running FusedMatMul node. "
    "Name:'MatMul_92_FusedMatMulAndScale' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:331 "
    "void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of "
    "size 8388608000",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : BFCArena::AllocateRawInternal Available memory of 34699008 is "
    "smaller than requested bytes of 945041920",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; "
    "expr=cudaMalloc((void**)&p, size);",
    "[ONNXRuntimeError] : 1 : FAIL : CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; "
    "expr=cublasCreate(&cublas_handle_);",
]


def tokens_of(lengths: list[int]) -> Tokens:
    random = np.random.default_rng(0)
    ids = random.integers(3, 200, sum(lengths), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(ids=ids, offsets=offsets, starts=np.zeros(len(lengths), dtype=np.int64), truncated=0)


@pytest.fixture
def engine(bundle: Path) -> CudaSession:
    """The GPU's engine on the CPU."""
    return CudaSession.open(bundle / "fp32/model.onnx", Device("cpu"), cuda_graphs=False)


class SmallMemory:
    """A session that fails as onnxruntime does, for every run of more than `most` tokens."""

    def __init__(self, session: Any, most: int, error: str) -> None:
        self._session, self._most, self._error = session, most, error
        self.runs: list[tuple[int, ...]] = []

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        shape = tuple(binding.shapes["input_ids"])
        self.runs.append(shape)
        if shape[0] * shape[1] > self._most:
            raise RuntimeError(self._error)
        self._session.run_with_iobinding(binding, options)


@pytest.fixture
def small(engine: CudaSession, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> SmallMemory:
    import onnxruntime

    bind = onnxruntime.IOBinding.bind_input

    def bind_input(binding: Any, name: str, kind: str, index: int, dtype: Any, shape: Any, address: int) -> None:
        binding.shapes = getattr(binding, "shapes", {}) | {name: shape}
        bind(binding, name, kind, index, dtype, shape, address)

    monkeypatch.setattr(onnxruntime.IOBinding, "bind_input", bind_input)
    small = SmallMemory(engine._model.session, 64, getattr(request, "param", OUT_OF_MEMORY[0]))
    monkeypatch.setattr(engine._model, "session", small)
    return small


class TestEngine:
    LENGTHS = (37, 21, 8, 3, 1)

    def test_same_vectors_as_the_cpu_engine(self, engine: CudaSession, bundle: Path) -> None:
        tokens, rows = tokens_of(list(self.LENGTHS)), np.array([0, 2, 1, 4, 3])
        expected = Session.open(bundle / "fp32/model.onnx", Device("cpu"))
        assert engine.sentence_embeddings(tokens, rows) == pytest.approx(
            expected.sentence_embeddings(tokens, rows), abs=2e-6
        )
        ours, vectors = engine.token_embeddings(tokens, rows)
        theirs, _ = expected.token_embeddings(tokens, rows)
        assert [row.shape for row in ours] == [(self.LENGTHS[row], 32) for row in rows]
        assert max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) < 1e-5
        assert vectors == pytest.approx(engine.sentence_embeddings(tokens, rows), abs=1e-6)

    def test_tensors_are_torchs_own(self, engine: CudaSession) -> None:
        tokens, rows = tokens_of(list(self.LENGTHS)), np.arange(5)
        expected = engine.sentence_embeddings(tokens, rows)
        tensors = [engine.sentence_tensors(tokens, rows, torch) for _ in range(3)]
        engine.sentence_embeddings(tokens_of([9] * 5), rows)  # writes over what was lent
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors)
        assert all(np.array_equal(tensor.numpy(), expected) for tensor in tensors)

    def test_buffers_are_few_and_keep_nothing(self, engine: CudaSession) -> None:
        rows = np.arange(4)
        first = engine.sentence_embeddings(tokens_of([30, 20, 10, 5]), rows)
        for length in range(1, 60):
            engine.sentence_embeddings(tokens_of([length] * 4), rows)
        assert len(engine._buffers) <= 8
        assert np.array_equal(engine.sentence_embeddings(tokens_of([30, 20, 10, 5]), rows), first)

    def test_sequences_are_a_multiple_of_eight(self, small: SmallMemory, engine: CudaSession) -> None:
        engine.sentence_embeddings(tokens_of([13, 2]), np.arange(2))
        engine.sentence_embeddings(tokens_of([16]), np.arange(1))
        assert small.runs == [(2, 16), (1, 16)]
        assert SEQUENCE_MULTIPLE == 8

    def test_encode_through_it(self, bundle: Path, engine: CudaSession, monkeypatch: pytest.MonkeyPatch) -> None:
        model = INSTRUCTOR(bundle, variant="fp32", device="cpu")
        rows = [["Represent the sentence: ", "the sea " * count] for count in range(12)]
        expected, details = model.encode(rows), model.encode(rows, output_value=None)
        monkeypatch.setattr(model, "_engine", engine)
        assert model.encode(rows) == pytest.approx(expected, abs=2e-6)
        stacked = model.encode(rows, convert_to_tensor=True, normalize_embeddings=True)
        assert stacked.numpy() == pytest.approx(expected, abs=2e-6)
        assert model.encode("the sea", convert_to_tensor=True).shape == (24,)
        found = model.encode(rows, output_value=None, convert_to_tensor=True)
        for ours, theirs in zip(found, details, strict=True):
            assert ours["token_embeddings"].numpy() == pytest.approx(theirs["token_embeddings"], abs=1e-5)


class TestOutOfMemory:
    @pytest.mark.parametrize("small", OUT_OF_MEMORY, indirect=True)
    def test_the_batch_is_halved_until_it_fits(
        self, small: SmallMemory, engine: CudaSession, caplog: pytest.LogCaptureFixture
    ) -> None:
        tokens, rows = tokens_of([16] * 13), np.arange(13)
        with caplog.at_level(logging.WARNING):
            found = engine.sentence_embeddings(tokens, rows)
        assert found == pytest.approx(engine.sentence_embeddings(tokens, rows), abs=2e-6)
        assert max(batch * length for batch, length in small.runs[-4:]) <= 64
        messages = [record.getMessage() for record in caplog.records]
        assert "has no memory for 13 texts of 16 tokens" in messages[0]
        assert "token_budget=" in messages[0]

    def test_it_learns(self, small: SmallMemory, engine: CudaSession, caplog: pytest.LogCaptureFixture) -> None:
        tokens, rows = tokens_of([8] * 20), np.arange(20)
        engine.sentence_embeddings(tokens, rows)
        caplog.clear()
        del small.runs[:]
        ours, _ = engine.token_embeddings(tokens, rows)
        assert len(ours) == 20
        assert all(batch * length <= 64 for batch, length in small.runs)
        assert not caplog.records

    def test_one_text_that_does_not_fit(self, small: SmallMemory, engine: CudaSession) -> None:
        with pytest.raises(GpuOutOfMemoryError, match=r"no memory for a run of 72 tokens.*max_seq_length"):
            engine.sentence_embeddings(tokens_of([70, 3]), np.arange(2))

    @pytest.mark.parametrize("small", ["CUDA failure 700: an illegal memory access was encountered"], indirect=True)
    def test_another_error_is_not_taken_for_one(self, small: SmallMemory, engine: CudaSession) -> None:
        with pytest.raises(RuntimeError, match=r"model\.onnx: onnxruntime failed on .*illegal memory access"):
            engine.sentence_embeddings(tokens_of([16] * 13), np.arange(13))
        assert len(small.runs) == 1


def fake_onnxruntime(monkeypatch: pytest.MonkeyPatch, *providers: str, gpus: int = 1, **more: Any) -> Any:
    """An onnxruntime that claims these providers, and a driver that shows so many GPUs."""
    fake = SimpleNamespace(get_available_providers=lambda: list(providers), __version__="1.31.1", **more)
    monkeypatch.setattr(devices, "import_onnxruntime", lambda: fake)
    monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
    return fake


class TestProviderOptions:
    def test_fp32_is_fp32_and_attention_is_cutlass(self) -> None:
        found = devices.provider_options(Device("cuda"), "1.31.1")
        assert found == {"use_tf32": "0", "sdpa_kernel": "2"}

    def test_only_a_gpu_that_is_not_the_first_is_named(self) -> None:
        found = devices.provider_options(Device("cuda", 2), "1.31.1")
        assert found == {"use_tf32": "0", "sdpa_kernel": "2", "device_id": "2"}
        assert "device_id" not in devices.PROVIDER_OPTIONS

    @pytest.mark.parametrize(("version", "told"), [("1.21.0", True), ("1.26.0", True), ("1.27.0", False)])
    def test_squares_are_added_up_in_fp32_by_any_version(self, version: str, told: bool) -> None:
        found = devices.provider_options(Device("cuda"), version)
        assert found.get("enable_skip_layer_norm_strict_mode") == ("1" if told else None)


class TestWhatIsMissing:
    def test_the_cpu_only_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_onnxruntime(monkeypatch, CPU)
        with pytest.raises(RuntimeError, match=r"device='cuda': .*CPU-only package. pip .*\[gpu\]"):
            choose_device("cuda")

    def test_both_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_onnxruntime(monkeypatch, CPU)
        monkeypatch.setattr(devices, "_installed", lambda name: True)
        with pytest.raises(RuntimeError, match="are both installed.*pip uninstall -y onnxruntime onnxruntime-gpu"):
            choose_device("cuda")

    def test_no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_onnxruntime(monkeypatch, CUDA, CPU, gpus=0)
        with pytest.raises(RuntimeError, match="no NVIDIA driver.*nvidia-smi"):
            choose_device("cuda")
        assert choose_device(None) == Device("cpu")  # nobody asked for CUDA

    def test_too_few_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_onnxruntime(monkeypatch, CUDA, CPU, gpus=2)
        assert choose_device("cuda:1") == Device("cuda", 1)
        with pytest.raises(RuntimeError, match=r"device='cuda:2'.*sees 2 GPU\(s\), the last is cuda:1"):
            choose_device("cuda:2")

    def test_a_driver_that_is_not_there_is_no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ctypes.CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
        assert devices.visible_gpus() == 0

    def test_libraries_that_do_not_load(
        self, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """onnxruntime leaves the provider out and goes on; and it prints, which a library should not."""
        import onnxruntime

        def session(*arguments: Any, **keywords: Any) -> Any:
            assert keywords["providers"][0][0] == CUDA
            assert keywords["providers"][0][1]["use_tf32"] == "0"
            assert keywords["enable_fallback"] == 0
            return SimpleNamespace(get_providers=lambda: [CPU])

        fake_onnxruntime(
            monkeypatch,
            CUDA,
            CPU,
            SessionOptions=onnxruntime.SessionOptions,
            InferenceSession=session,
            cuda_version="13.0",
            preload_dlls=lambda: print("Failed to load libcudnn.so.9: cannot open shared object file"),  # noqa: T201
        )
        monkeypatch.setattr(saturation, "saturates", lambda module: False)
        with pytest.raises(RuntimeError) as caught:
            CudaSession.open(bundle / "fp32/model.onnx", Device("cuda", 1))
        message = str(caught.value)
        assert "device='cuda:1': onnxruntime 1.31.1 could not start CUDA (it wants CUDA 13 and cuDNN 9)" in message
        assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in message
        assert "Failed to load libcudnn.so.9" in message
        assert message.endswith("or use device='cpu'.")
        assert capsys.readouterr().out == ""


# As traced on onnxruntime-gpu 1.31.1 without cuDNN, and on compute capability 7.5; the others are CUDA's own texts.
TROUBLES = {
    "Non-zero status code returned while running MultiHeadAttention node. Status Message: cuda_kernel.h:296 cuDNN is "
    "unavailable or disabled for CUDA Execution Provider: dlopen failed for libcudnn.so: libcudnn.so: cannot open "
    "shared object file": r"cuDNN 9 cannot be loaded\. pip install 'onnxruntime-gpu\[cuda,cudnn\]'",
    "running MultiHeadAttention node. Status Message: BF16 Attention requires Ampere (sm_80)+ with BF16 support. This "
    "GPU (Tesla T4, cc 7.5) is not supported.": "compute capability 8.0 .*--variants fp16.*Tesla T4",
    "CUDA failure 209: no kernel image is available for execution on the device ; GPU=0": "no code for this GPU",
    "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version": "driver is too old",
}


class TestOpening:
    @staticmethod
    def opening(monkeypatch: pytest.MonkeyPatch, session: Any) -> Any:
        """What opens a model with the onnxruntime of `session`, which claims CUDA; its buffers are not on a GPU."""
        import onnxruntime

        buffer = SimpleNamespace(update_inplace=lambda host: None, data_ptr=lambda: 0)
        fake = fake_onnxruntime(
            monkeypatch,
            CUDA,
            CPU,
            SessionOptions=onnxruntime.SessionOptions,
            InferenceSession=session,
            OrtValue=SimpleNamespace(ortvalue_from_numpy=lambda *arguments: buffer),
        )
        monkeypatch.setattr(cuda, "import_onnxruntime", lambda: fake)
        monkeypatch.setattr(saturation, "saturates", lambda module: False)
        return lambda: CudaSession.open(Path("b/fp16/model.onnx"), Device("cuda"))

    @pytest.mark.parametrize("error", TROUBLES)
    def test_what_shows_in_the_first_run_is_told_at_once(self, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
        def io_binding() -> Any:
            raise RuntimeError(error)

        session = SimpleNamespace(get_providers=lambda: [CUDA, CPU], io_binding=io_binding)
        opening = self.opening(monkeypatch, lambda *arguments, **keywords: session)
        with pytest.raises(DeviceError, match=rf"^device='cuda:0': .*{TROUBLES[error]}"):
            opening()

    def test_memory_that_is_short_for_weights_or_for_the_first_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def session(*arguments: Any, **keywords: Any) -> Any:
            raise RuntimeError(OUT_OF_MEMORY[2])

        monkeypatch.setattr(ort, "_provider_starts", lambda *arguments: True)
        with pytest.raises(
            MemoryError, match=r"b/fp16/model\.onnx: the GPU has no memory for its weights .*nvidia-smi"
        ):
            self.opening(monkeypatch, session)()

        def io_binding() -> Any:
            raise RuntimeError(OUT_OF_MEMORY[0])

        started = SimpleNamespace(get_providers=lambda: [CUDA, CPU], io_binding=io_binding)
        with pytest.raises(GpuOutOfMemoryError, match="no memory for a run of 8 tokens"):
            self.opening(monkeypatch, lambda *arguments, **keywords: started)()

    @pytest.mark.parametrize("starts", [False, True])
    def test_the_provider_is_looked_for_before_the_model_is_blamed(
        self, monkeypatch: pytest.MonkeyPatch, starts: bool
    ) -> None:
        """bf16 has no products on a CPU: without CUDA, onnxruntime refuses the model, not the device."""

        def session(model: Any, *arguments: Any, **keywords: Any) -> Any:
            if model is not saturation.PROBE:
                raise RuntimeError("NOT_IMPLEMENTED : Could not find an implementation for Add(14) node")
            return SimpleNamespace(get_providers=lambda: [CUDA, CPU] if starts else [CPU])

        opening = self.opening(monkeypatch, session)
        with pytest.raises(RuntimeError) as caught:
            opening()
        assert isinstance(caught.value, DeviceError) == (not starts)
        expected = "cannot open it: NOT_IMPLEMENTED" if starts else "could not start CUDA: its libraries are missing"
        assert expected in str(caught.value)

    def test_the_library_that_is_missing_is_named(self) -> None:
        said = "Failed to load libcublas.so.13: cannot open shared object file"
        fake = SimpleNamespace(__version__="1.31.1", cuda_version="13.0")
        assert "(it wants CUDA 13 and cuDNN 9): libcublas.so.13 cannot be loaded. pip" in devices.not_started(
            fake, said
        )

    @pytest.mark.parametrize(
        ("version", "weight_type", "runs"),
        [
            ("1.23.2", "bfloat16", False),
            ("1.24.1", "bfloat16", True),
            ("1.31.1", "bfloat16", True),
            ("2.0.0.dev1", "bfloat16", True),
            ("1.23.2", "float16", True),
            ("1.21.0", "float32", True),
        ],
    )
    def test_bf16_wants_an_onnxruntime_that_has_it(
        self, bundle: Path, monkeypatch: pytest.MonkeyPatch, version: str, weight_type: str, runs: bool
    ) -> None:
        assert (devices.too_old(version, weight_type) is None) == runs
        fake_onnxruntime(monkeypatch, CUDA, CPU).__version__ = version
        monkeypatch.setattr(engine_module, "import_onnxruntime", devices.import_onnxruntime)
        manifest = Manifest.read(bundle)
        half = dataclasses.replace(manifest.variants["fp32"], devices=("cuda",), weight_type=weight_type)
        manifest = dataclasses.replace(manifest, variants={"half": half})
        assert (engine_module.missing_gpu(half) is None) == runs
        if not runs:
            with pytest.raises(
                DeviceError, match=r"variant='half': bf16 wants onnxruntime-gpu 1\.24 .*this is 1\.23\.2"
            ):
                engine_module.open_engine(manifest, "half", Path("x"), Device("cuda"), None, None)

    def test_operators_left_on_the_cpu_are_told_of(self) -> None:
        def part(provider: str, *operators: str) -> Any:
            return SimpleNamespace(ep_name=provider, get_nodes=lambda: [SimpleNamespace(op_type=o) for o in operators])

        parts = [part(CUDA, "MatMul"), part(CPU, "Squeeze", "Add"), part(CPU, "Softmax"), part(CPU, "Softmax")]
        session = SimpleNamespace(get_providers=lambda: [CUDA, CPU], get_provider_graph_assignment_info=lambda: parts)
        assert cuda.misplaced(session) == {"Softmax": 2}
        assert cuda.misplaced(SimpleNamespace(get_providers=lambda: [CUDA, CPU])) == {}  # an earlier onnxruntime


class TestPreferredVariant:
    @pytest.fixture
    def manifest(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
        """fp32, verified; fp16 and bf16, not; on a machine with a GPU."""
        fake_onnxruntime(monkeypatch, CUDA, CPU)
        manifest = Manifest.read(bundle)
        half = dataclasses.replace(manifest.variants["fp32"], devices=("cuda",), verification={})
        return dataclasses.replace(manifest, variants=manifest.variants | {"fp16": half, "bf16": half})

    @staticmethod
    def chosen(manifest: Manifest, verified: list[str], device: str | None = "cuda") -> str:
        found = manifest.variants["int8"].verification
        variants = manifest.variants | {
            name: dataclasses.replace(manifest.variants[name], verification=found) for name in verified
        }
        return loading.choose(dataclasses.replace(manifest, variants=variants), None, device, Path("b"))[0]

    def test_half_precision_only_if_verified(self, manifest: Manifest) -> None:
        assert self.chosen(manifest, []) == "fp32"
        assert self.chosen(manifest, ["bf16"]) == "bf16"
        assert self.chosen(manifest, ["bf16", "fp16"]) == self.chosen(manifest, ["fp16"], None) == "fp16"
        assert self.chosen(manifest, ["fp16"], "cpu") == "fp32"

    def test_unverified_if_there_is_nothing_else(self, manifest: Manifest) -> None:
        only = dataclasses.replace(manifest, variants={"bf16": manifest.variants["bf16"]})
        assert loading.choose(only, None, "cuda", Path("b")) == ("bf16", Device("cuda"))

    def test_a_variant_for_gpus_never_goes_to_the_cpu_unasked(
        self, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake_onnxruntime(monkeypatch, CPU)
        with pytest.raises(RuntimeError, match="CPU-only package"):
            loading.choose(manifest, "bf16", None, Path("b"))
        assert loading.choose(manifest, "fp16", "cpu", Path("b")) == ("fp16", Device("cpu"))

    def test_an_unverified_variant_is_told_of(
        self, bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "b"
        shutil.copytree(bundle, folder)
        manifest = Manifest.read(bundle)
        half = dataclasses.replace(manifest.variants["fp32"], verification={})
        dataclasses.replace(manifest, variants={"fp16": half}).write(folder)
        model = INSTRUCTOR(folder, variant="fp16", device="cpu")
        model.encode("a")
        model.encode("b")
        (record,) = caplog.records
        assert "variant fp16 was not verified" in record.getMessage()
        assert f"instructor-onnx check {folder} --against" in record.getMessage()
