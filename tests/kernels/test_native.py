"""The native engine through the runtime: against onnxruntime, against itself, and where it cannot be had."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx import INSTRUCTOR, BundleError, Manifest
from instructor_onnx.cli import main
from instructor_onnx.engines import cpus, native
from instructor_onnx.engines.onnx_file import read_initializers
from instructor_onnx.inputs import as_rows

kernels = pytest.importorskip(
    "instructor_onnx.engines.kernels", exc_type=ImportError, reason="the native kernels were not compiled"
)

Float32 = npt.NDArray[np.float32]

FOLDER = Path(native.__file__).parents[1] / "instructor-mini"
INSTRUCTION = "Represent the Science title: "
TEXTS = ["", "a", "3D ActionSLAM: wearable person tracking", "Inflation. " * 40, "Straße, naïve façade", "x " * 700]
ROWS = [[INSTRUCTION, text] for text in TEXTS] + [["", text] for text in TEXTS] + [["a", "b"], "</s> <extra_id_0>"]


def opened(bundle: str | Path, variant: str = "int8", **options: Any) -> INSTRUCTOR:
    return INSTRUCTOR(bundle, variant=variant, **options)


def cosines(a: Float32, b: Float32) -> Float32:
    """Row by row; two zero vectors count as equal."""
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    both_zero = ~a.any(axis=-1) & ~b.any(axis=-1)
    return np.where(both_zero, 1, (a * b).sum(axis=-1) / np.maximum(lengths, 1e-30))


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    """Forget which instruction sets have been checked, before and after."""
    native._checked.cache_clear()
    yield
    native._checked.cache_clear()


BEST, *OTHERS = kernels.instruction_sets()


@pytest.fixture(scope="module", params=[BEST, *(pytest.param(isa, marks=pytest.mark.slow) for isa in OTHERS)])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine has, forced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(native.ISA_VARIABLE, request.param)
        yield request.param


@pytest.fixture(scope="module")
def mini(isa: str) -> INSTRUCTOR:
    return opened("instructor-mini", engine="native")


@pytest.mark.usefixtures("isa")
class TestAgainstOnnxruntime:
    # The same arithmetic; a sum in another order may round an activation to the next of 127 steps.
    def test_every_member_of_the_family(self, family_bundle: Path) -> None:
        ours, theirs = (opened(family_bundle, engine=engine) for engine in ("native", "onnxruntime"))
        assert cosines(ours.encode(ROWS), theirs.encode(ROWS)).min() >= 0.9999
        for a, b in zip(*(m.encode(ROWS, output_value="token_embeddings") for m in (ours, theirs)), strict=True):
            assert a.shape == b.shape
            assert cosines(a, b).min() >= 0.9999

    def test_the_trained_model(self, mini: INSTRUCTOR) -> None:
        theirs = opened("instructor-mini", engine="onnxruntime")
        assert cosines(mini.encode(ROWS), theirs.encode(ROWS)).min() >= 0.9999

    def test_longer_than_512(self) -> None:
        rows = [[INSTRUCTION, "the quick brown fox jumps over the lazy dog. " * 150]]
        found = []
        for engine in ("native", "onnxruntime"):
            model = opened("instructor-mini", engine=engine)
            model.max_seq_length = 1500
            found.append(model.encode(rows, output_value=None)[0])
        assert len(found[0]["token_embeddings"]) == 1500
        assert cosines(found[0]["token_embeddings"], found[1]["token_embeddings"]).min() >= 0.9999
        assert np.array_equal(found[0]["input_ids"], found[1]["input_ids"])


class TestAttentionInWholeNumbers:
    def test_a_token_repeated_is_the_token(self, isa: str) -> None:
        # All values are the largest there are, and the weights add up to the most that 32 bits hold.
        sizes = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_heads": 1, "num_layers": 1, "embedding_dim": 16}
        others = {"vocab_size": 1, "max_distance": 4, "gated": 0, "dense": 0, "normalize": 1, "int4": 0}
        config = kernels.Config(**sizes, **others, layer_norm_epsilon=1e-6)
        random = np.random.default_rng(0)

        def product(k: int, n: int) -> list[Any]:
            return [random.integers(-127, 128, (k, n), dtype=np.int8), np.full(n, 0.01, dtype=np.float32)]

        ones = np.ones(16, dtype=np.float32)
        embedding = [random.integers(-127, 128, (1, 16), dtype=np.int8), ones[:1]]
        layer = [ones, *product(16, 24), *product(8, 16), ones, *product(16, 16), *product(16, 16)]
        model = kernels.Model(config, [*embedding, np.zeros((1, 9), dtype=np.float32), ones, *layer], isa, 2)

        def rows(length: int) -> Float32:
            vector, found = np.empty((1, 16), dtype=np.float32), np.empty((length, 16), dtype=np.float32)
            offsets, zero = np.array([0, length], dtype=np.int64), np.zeros(1, dtype=np.int64)
            model.encode(np.zeros(length, dtype=np.int32), offsets, zero, zero, vector, found, threads=2)
            return found

        for length in (2, 15, 130, 4096):
            assert np.abs(rows(length) - rows(1)).max() < 1e-6


class TestOneTextOneVector:
    def test_alone_in_any_batch_order_and_number_of_threads(self, mini: INSTRUCTOR) -> None:
        expected = mini.encode(ROWS)
        assert all(np.array_equal(mini.encode([row])[0], vector) for row, vector in zip(ROWS, expected, strict=True))
        assert np.array_equal(mini.encode(ROWS[::-1], batch_size=3)[::-1], expected)
        for threads in (1, 2, 3, 7):
            found = opened("instructor-mini", engine="native", num_threads=threads).encode(ROWS)
            assert np.array_equal(found, expected)

    def test_every_instruction_set_gives_the_same_bits(
        self, mini: INSTRUCTOR, isa: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert mini._engine.description == mini.engine_name == f"native {isa}"
        monkeypatch.setenv(native.ISA_VARIABLE, "scalar")
        assert np.array_equal(mini.encode(ROWS), opened("instructor-mini").encode(ROWS))

    def test_tensors_hold_the_same_bits(self, mini: INSTRUCTOR) -> None:
        torch = pytest.importorskip("torch")
        assert torch.equal(mini.encode(ROWS, convert_to_tensor=True), torch.from_numpy(mini.encode(ROWS)))

    def test_nothing_in(self, mini: INSTRUCTOR) -> None:
        assert mini.encode([]).shape == (0, 384)

    def test_masked_away_is_zero(self, mini: INSTRUCTOR) -> None:
        tokens = mini._tokenizer([native_row(["", "a few words"])] * 2, 512)
        masked = dataclasses.replace(tokens, starts=np.array([tokens.lengths[0], 0]))
        found = mini._engine.sentence_embeddings(masked, np.arange(2))
        assert not found[0].any()
        assert found[1].any()


# Where one of these changes, native.ARITHMETIC counts up: vectors of both must not be taken for the same.
BITS = {"int8": "a322cfdce15cb9cd", "fp32": "5b54344428edfcbb"}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("variant", BITS)
def test_the_bits_are_those_of_this_arithmetic(variant: str, mini_bundle: Path) -> None:
    """The embedded int8: one exported here may have some weights rounded otherwise."""
    model = opened("instructor-mini" if variant == "int8" else mini_bundle, variant, engine="native")
    vectors = model.encode(ROWS).astype("<f4")
    found = hashlib.sha256(vectors.tobytes()).hexdigest()[:16]
    assert (native.ARITHMETIC, found) == (1, BITS[variant])


@pytest.mark.usefixtures("isa")
class TestInt4:
    def test_it_is_int8_of_the_same_weights_to_the_bit(self, family_bundle: Path) -> None:
        ours = opened(family_bundle, "int4", engine="native")
        tokens, every = ours.tokenizer(as_rows(ROWS)[0], 512), np.arange(len(ROWS))
        theirs = native.NativeSession(expanded(ours), ours.manifest.model, "", num_threads=2)
        assert np.array_equal(ours.engine.sentence_embeddings(tokens, every), theirs.sentence_embeddings(tokens, every))

    def test_the_same_bits_in_any_batch_order_and_number_of_threads(self, bundle: Path) -> None:
        model = opened(bundle, "int4", engine="native")
        expected = model.encode(ROWS)
        assert all(np.array_equal(model.encode([row])[0], vector) for row, vector in zip(ROWS, expected, strict=True))
        for threads in (1, 3):
            found = opened(bundle, "int4", engine="native", num_threads=threads).encode(ROWS[::-1], batch_size=3)
            assert np.array_equal(found[::-1], expected)

    def test_near_to_onnxruntime(self, family_bundle: Path) -> None:
        # onnxruntime rounds activations block by block, the kernels row by row
        ours, theirs = (opened(family_bundle, "int4", engine=engine) for engine in ("native", "onnxruntime"))
        assert cosines(ours.encode(ROWS), theirs.encode(ROWS)).min() >= 0.999


@pytest.mark.usefixtures("isa")
class TestFp32:
    def test_as_exact_as_onnxruntime(self, family_bundle: Path) -> None:
        # both within 1e-5 of PyTorch, which the export has verified; numbers past 1 (no Normalize) as a share
        ours, theirs = (opened(family_bundle, "fp32", engine=engine) for engine in ("native", "onnxruntime"))
        expected = theirs.encode(ROWS)
        assert np.abs(ours.encode(ROWS) - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
        for a, b in zip(*(m.encode(ROWS, output_value="token_embeddings") for m in (ours, theirs)), strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b).max() <= 1e-5 * max(1, np.abs(b).max())

    def test_longer_than_512(self, bundle: Path) -> None:
        found = []
        for engine in ("native", "onnxruntime"):
            model = opened(bundle, "fp32", engine=engine)
            model.max_seq_length = 1500
            found.append(model.encode([[INSTRUCTION, "the quick brown fox jumps over the lazy dog. " * 300]])[0])
        assert np.abs(found[0] - found[1]).max() <= 1e-5

    def test_the_same_bits_in_any_batch_order_and_number_of_threads(self, bundle: Path) -> None:
        model = opened(bundle, "fp32", engine="native")
        expected = model.encode(ROWS)
        assert all(np.array_equal(model.encode([row])[0], vector) for row, vector in zip(ROWS, expected, strict=True))
        for threads in (1, 3, 7):
            found = opened(bundle, "fp32", engine="native", num_threads=threads).encode(ROWS[::-1], batch_size=3)
            assert np.array_equal(found[::-1], expected)

    def test_every_instruction_set_gives_the_same_bits(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = opened(bundle, "fp32", engine="native").encode(ROWS)
        monkeypatch.setenv(native.ISA_VARIABLE, "scalar")
        assert np.array_equal(opened(bundle, "fp32").encode(ROWS), found)


def expanded(model: INSTRUCTOR) -> Any:
    """The kernels' model of an int4 variant whose blocks numpy has turned into int8 with a scale for each column."""
    path, sizes = model.folder / "int4/model.onnx", model.manifest.model
    config, tensors = native.arguments(read_initializers(path), sizes, path)
    named = dict(zip((name for name, _ in native._names(sizes, "int4")), tensors, strict=True))
    for name, packed in named.items():  # uint8 [out, blocks, block_size / 2]
        if packed.dtype != np.uint8:
            continue
        inputs = {"o": sizes.num_heads * sizes.d_kv, "wo": sizes.d_ff}.get(name.split(".")[-2], sizes.d_model)
        levels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1).astype(np.float32) - 8
        scales = named[f"{name}.scale"].reshape(packed.shape[:2]).astype(np.float32)
        column = np.float32(8) * np.abs(scales).max(axis=1) / np.float32(127)
        column[column == 0] = 1
        values = np.rint(levels * scales[..., None] / column[:, None, None]).reshape(len(packed), -1)[:, :inputs]
        named |= {name: np.ascontiguousarray(values.T.astype(np.int8)), f"{name}.scale": column}
    weights = list(named.values())
    return kernels.Model(
        kernels.Config(**config | {"weight_type": kernels.WEIGHT_TYPES["int8"]}), weights, native.instruction_set(), 1
    )


@pytest.mark.usefixtures("isa")
class TestThreadsAndProcesses:
    def test_many_python_threads_at_once(self, mini: INSTRUCTOR) -> None:
        expected = mini.encode(ROWS)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: mini.encode(ROWS), range(16)))
        assert all(np.array_equal(vectors, expected) for vectors in found)

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
    def test_no_thread_is_left_behind(self) -> None:
        def tasks() -> set[str]:
            return {task.name for task in Path("/proc/self/task").iterdir()}

        model = opened("instructor-mini", engine="native", num_threads=4)
        model.encode(ROWS)  # the tokenizer keeps threads of its own from now on
        before = tasks()
        model.encode(ROWS)
        deadline = time.monotonic() + 60  # one that the system starts when the call is over ends by itself
        while not tasks() <= before and time.monotonic() < deadline:
            time.sleep(0.001)
        assert tasks() <= before

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on fork beside threads
    def test_fork_after_use(self, mini: INSTRUCTOR) -> None:
        row = [[INSTRUCTION, "one text " * 200]]
        expected = mini.encode(row)
        child = os.fork()
        if child == 0:
            # straight to the engine: the tokenizer has threads of its own, which are not what is tested
            tokens = mini._tokenizer([native_row(row[0])], 512)
            found = mini._engine.sentence_embeddings(tokens, np.arange(1))
            os._exit(0 if np.array_equal(found, expected) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_threads_of_a_call_leave_the_callers_processor_to_it() -> None:
    """Where a system packs threads together, they would wait for it for milliseconds."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("there is one processor")
    model = opened("instructor-mini", engine="native", num_threads=2)
    model.encode(ROWS)
    rows = [[INSTRUCTION, "x " * 700]] * 4
    seen: dict[int, set[int]] = {}  # the last that was seen of each thread
    with ThreadPoolExecutor(1) as pool:
        pool.submit(os.getpid).result()
        before = set(Path("/proc/self/task").iterdir())
        for _ in range(20):  # a sampler may sleep through a call
            call = pool.submit(model.encode, rows)
            while not call.done():
                for task in set(Path("/proc/self/task").iterdir()) - before:
                    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                        seen[int(task.name)] = os.sched_getaffinity(int(task.name))
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
        try:
            for _ in range(300):  # threads that may be over before they are sent away
                pool.submit(model.encode, "x " * 30).result()
            assert pool.submit(os.sched_getaffinity, 0).result() == allowed
        finally:
            for process in busy:
                process.kill()
                process.wait()
    assert all(cpus <= allowed for cpus in seen.values())
    assert any(len(cpus) == len(allowed) - 1 for cpus in seen.values())  # some were seen before they were sent away


def native_row(pair: list[str]) -> Any:
    from instructor_onnx.inputs import as_row

    return as_row(pair, 0)


class TestChoice:
    @pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
    def test_native_is_the_default_on_a_cpu(self, bundle: Path, variant: str) -> None:
        expected = "native" if kernels.instruction_sets() != ["scalar"] else "onnxruntime"
        assert opened(bundle, variant, device="cpu").engine_name.startswith(expected)

    def test_native_alone_chooses_the_most_exact_on_the_cpu(self, bundle: Path) -> None:
        model = INSTRUCTOR(bundle, engine="native")
        assert (model.variant, model.device) == ("fp32", "cpu")
        assert f"engine='{model.engine_name}'" in repr(model)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"engine": "nativ"}, "engine: found 'nativ'"),
            ({"engine": "native", "device": "cuda"}, "runs fp32, int8 and int4 variants on the CPU"),
        ],
    )
    def test_refused(self, bundle: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            INSTRUCTOR(bundle, **options)

    @pytest.mark.usefixtures("fresh_choice")
    def test_without_the_kernels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(native.ISA_VARIABLE, raising=False)  # which would ask for them
        monkeypatch.setitem(sys.modules, "instructor_onnx.engines.kernels", None)
        assert opened("instructor-mini").engine_name == "onnxruntime"
        with pytest.raises(ImportError, match=r"native kernels are missing .*: pip install .* --no-deps"):
            opened("instructor-mini", engine="native")

    @pytest.mark.usefixtures("fresh_choice")
    def test_an_instruction_set_that_fails_its_check_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(isa: str) -> None:
            if isa != "scalar":
                raise kernels.KernelError("a bit differs")

        monkeypatch.delenv(native.ISA_VARIABLE, raising=False)  # which would name one
        monkeypatch.setattr(kernels, "self_check", refuse)
        assert opened("instructor-mini").engine_name == "onnxruntime"  # scalar code is right, but slower
        assert opened("instructor-mini", engine="native").engine_name == "native scalar"

    def test_what_an_instruction_set_lacks_is_said(self) -> None:
        for isa in kernels.built_instruction_sets():
            assert (kernels.why_not(isa) is None) == (isa in kernels.instruction_sets())
            if sentence := kernels.why_not(isa):
                with pytest.raises(kernels.KernelError, match=f"{isa}: {sentence}."):
                    kernels.self_check(isa)

    def test_an_instruction_set_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(native.ISA_VARIABLE, "sse9")
        with pytest.raises(RuntimeError, match="INSTRUCTOR_ONNX_ISA=sse9: .*no instruction set"):
            opened("instructor-mini", engine="native")

    @pytest.mark.usefixtures("fresh_choice")
    def test_an_instruction_set_that_was_named_is_never_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(native.ISA_VARIABLE, "sse9")
        with pytest.raises(
            RuntimeError, match="INSTRUCTOR_ONNX_ISA=sse9: .* Name another, or leave the variable unset"
        ):
            opened("instructor-mini")
        with pytest.raises(RuntimeError, match="INSTRUCTOR_ONNX_ISA=sse9: "):
            native.why_not()
        monkeypatch.setitem(sys.modules, "instructor_onnx.engines.kernels", None)
        with pytest.raises(ImportError, match="the native kernels are missing"):
            opened("instructor-mini")
        monkeypatch.setenv(native.ISA_VARIABLE, "")  # names none
        assert opened("instructor-mini").engine_name == "onnxruntime"

    @pytest.mark.parametrize("engine", [None, "native", "onnxruntime"])
    def test_too_many_threads_switch_no_engine(self, engine: str | None) -> None:
        with pytest.raises(ValueError, match="num_threads: found 1025, expected a whole number from 1 to 1024"):
            opened("instructor-mini", engine=engine, num_threads=1025)

    def test_as_many_threads_as_there_can_be(self) -> None:
        model = opened("instructor-mini", engine="native", num_threads=cpus.MOST_THREADS)
        assert model.encode("a").shape == (384,)

    def test_many_threads_get_more_tokens_a_run(self) -> None:
        found = {n: opened("instructor-mini", engine="native", num_threads=n).token_budget for n in (1, 32, 64)}
        assert found == {1: 16384, 32: 16384, 64: 32768}
        assert opened("instructor-mini", engine="native", num_threads=64, token_budget=99).token_budget == 99

    def test_info_says_what_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["info", "instructor-mini"]) == 0
        assert f"native {native.instruction_set()}, cpu: self-check passed" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs x86-64's Python")
def test_a_processor_without_avx(mini: INSTRUCTOR) -> None:
    program = (
        "import instructor_onnx, instructor_onnx.engines.kernels as kernels\n"
        "kernels.self_check('scalar')\n"
        "model = instructor_onnx.INSTRUCTOR('instructor-mini', engine='native')\n"
        f"print(model.engine_name, model.encode({ROWS[2]!r}).tobytes().hex())"
    )
    # numpy's OpenBLAS takes this emulated processor for a newer one
    environment = {name: value for name, value in os.environ.items() if name != native.ISA_VARIABLE}
    done = subprocess.run(
        ["qemu-x86_64", "-cpu", "Nehalem", sys.executable, "-c", program],
        env=environment | {"OPENBLAS_CORETYPE": "Nehalem"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["native", "scalar", mini.encode(ROWS[2]).tobytes().hex()]


def test_files_may_change_under_a_loaded_model(tmp_path: Path) -> None:
    """The kernels keep copies; a mapped file that is cut would end the process with SIGBUS."""
    folder = Path(shutil.copytree(FOLDER, tmp_path / "bundle"))
    model = opened(folder, engine="native")
    (folder / "int8/model.onnx.data").write_bytes(b"")
    assert np.array_equal(model.encode(ROWS), opened("instructor-mini", engine="native").encode(ROWS))


class TestWithoutMemory:
    """The kernels find none: at the weights, then at a run."""

    @staticmethod
    def starve(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
        calls = kernels._library
        starved = SimpleNamespace(**{name: getattr(calls, name) for name in ("ik_encode", "ik_model_create")})

        def out_of_memory(*arguments: Any) -> int:
            arguments[-2].value = b"out of memory."
            return int(kernels.OUT_OF_MEMORY)

        setattr(starved, function, out_of_memory)
        starved.ik_isa_count, starved.ik_isa_name, starved.ik_model_free = (
            calls.ik_isa_count,
            calls.ik_isa_name,
            calls.ik_model_free,
        )
        monkeypatch.setattr(kernels, "_library", starved)

    def test_at_the_weights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        native.instruction_set()
        self.starve(monkeypatch, "ik_model_create")
        with pytest.raises(MemoryError, match=r"int8/model\.onnx: no memory for its weights"):  # and no other engine
            opened("instructor-mini")

    def test_at_a_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = opened("instructor-mini", engine="native")
        self.starve(monkeypatch, "ik_encode")
        with pytest.raises(MemoryError, match="no memory to run 1 texts of up to 3 tokens .*lower max_seq_length"):
            model.encode("a text")

    def test_another_failure_of_a_run(self) -> None:
        model = opened("instructor-mini", engine="native")
        tokens = model.tokenizer([native_row(["", "a"])], 512)
        with pytest.raises(RuntimeError, match=r"the native kernels failed: .* Use engine='onnxruntime'"):
            model.engine.sentence_embeddings(dataclasses.replace(tokens, ids=tokens.ids + 10**6), np.arange(1))


class TestBundlesThatItDoesNotKnow:
    @pytest.mark.parametrize("shape", [(), (4,), (4, 257, 1)])
    def test_a_position_bias_of_another_shape(self, shape: tuple[int, ...]) -> None:
        path = FOLDER / "int8/model.onnx"
        bias = np.zeros(shape, dtype=np.float32)
        changed = read_initializers(path) | {"encoder.relative_attention_bias": bias}
        with pytest.raises(BundleError, match=rf"model\.onnx: .*bias has {len(shape)} dimensions, expected 2"):
            native.arguments(changed, Manifest.read(FOLDER).model, path)

    def test_epsilon_is_the_number_in_the_file(self) -> None:
        path, sizes = FOLDER / "int8/model.onnx", Manifest.read(FOLDER).model
        initializers = read_initializers(path)
        assert native.arguments(initializers, sizes, path)[0]["layer_norm_epsilon"] == np.float32(1e-6)
        changed = initializers | {native.EPSILON: np.full((1, 1), 0.25, dtype=np.float32)}
        assert native.arguments(changed, sizes, path)[0]["layer_norm_epsilon"] == 0.25
        for shape in ((0,), (2,)):
            changed = initializers | {native.EPSILON: np.ones(shape, dtype=np.float32)}
            with pytest.raises(native.UnknownGraphError, match=f"epsilon has {shape[0]} numbers, expected one"):
                native.arguments(changed, sizes, path)

    def test_a_bundle_of_before_epsilon_had_a_name_does_not_become_slow_in_silence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = self.changed(tmp_path, b"encoder.layer_norm_epsilon", b"encoder.another_name_of_it")
        monkeypatch.setenv(native.ISA_VARIABLE, "scalar")
        with pytest.raises(BundleError, match=r"epsilon is missing, .*Export the checkpoint again, or use engine='onn"):
            opened(folder)
        assert opened(folder, engine="onnxruntime").engine_name == "onnxruntime"
        monkeypatch.delenv(native.ISA_VARIABLE)
        if native.is_verified():
            with pytest.raises(BundleError, match="epsilon is missing"):
                opened(folder)

    def test_more_layers_than_anybody_could_list(self) -> None:
        path, sizes = FOLDER / "int8/model.onnx", Manifest.read(FOLDER).model
        with pytest.raises(BundleError, match=rf"block\.{sizes.num_layers}\.layer.0.layer_norm.weight is missing"):
            native.arguments(read_initializers(path), dataclasses.replace(sizes, num_layers=10**12), path)

    def changed(self, tmp_path: Path, old: bytes, new: bytes) -> Path:
        folder = Path(shutil.copytree(FOLDER, tmp_path / "bundle"))
        model = folder / "int8/model.onnx"
        contents = model.read_bytes()
        assert len(old) == len(new)
        assert old in contents
        model.write_bytes(contents.replace(old, new))
        return folder

    def test_another_graph_runs_on_onnxruntime(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = self.changed(tmp_path, b"encoder.final_layer_norm.weight", b"encoder.other_layer_norm.weight")
        monkeypatch.delenv(native.ISA_VARIABLE, raising=False)
        assert opened(folder).engine_name == "onnxruntime"
        with pytest.raises(BundleError, match="encoder.final_layer_norm.weight is missing"):
            opened(folder, engine="native")
        monkeypatch.setenv(native.ISA_VARIABLE, "scalar")  # which is not passed over either
        with pytest.raises(BundleError, match="encoder.final_layer_norm.weight is missing"):
            opened(folder)

    def test_weights_past_the_end_of_the_file(self, tmp_path: Path) -> None:
        folder = self.changed(tmp_path, b"5245696", b"9245696")  # where Dense begins
        with pytest.raises(BundleError, match="dense.linear.weight lies outside"):
            opened(folder, engine="native")

    @pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
    def test_numbers_that_are_not_finite(self, bundle: Path, variant: str) -> None:
        # maxima of NaN differ between instruction sets
        path, sizes = bundle / variant / "model.onnx", Manifest.read(bundle).model
        config, tensors = native.arguments(read_initializers(path), sizes, path)
        names = [name for name, _ in native._names(sizes, native._weight_type(read_initializers(path)))]
        for name in (
            names[0 if variant == "fp32" else 1],  # the embedding, or its scale
            "encoder.final_layer_norm.weight",
            names[names.index("dense.linear.weight") + (2 if variant == "fp32" else 3)],  # qkv, or its scale
        ):
            spoilt = [tensor.copy() for tensor in tensors]
            assert spoilt[names.index(name)].dtype.kind == "f"
            spoilt[names.index(name)].flat[1] = np.nan
            with pytest.raises(kernels.KernelError, match="not finite"):
                kernels.Model(kernels.Config(**config), spoilt, "scalar", 1)

    def test_weights_that_are_not_finite_run_on_no_engine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = self.changed(tmp_path, b"", b"")
        path = folder / "int8/model.onnx"
        scale = read_initializers(path)["shared.weight.scale"].tobytes()
        data = (folder / "int8/model.onnx.data").read_bytes()
        assert data.count(scale) == 1
        spoilt = np.frombuffer(scale, "<f4").copy()
        spoilt[5] = np.inf
        (folder / "int8/model.onnx.data").write_bytes(data.replace(scale, spoilt.tobytes()))
        with pytest.raises(BundleError, match=r"model.onnx: shared.weight.scale holds NaN or infinity. Export the che"):
            opened(folder, engine="native")
        monkeypatch.delenv(native.ISA_VARIABLE, raising=False)
        if native.is_verified():  # the default, which passes on only what it does not know
            with pytest.raises(BundleError, match="NaN or infinity"):
                opened(folder)

    def test_sizes_that_do_not_fit(self, tmp_path: Path) -> None:
        folder = self.changed(tmp_path, b"", b"")
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"d_ff": 512', '"d_ff": 513'))
        with pytest.raises(BundleError, match="131072 bytes, expected 131328"):
            opened(folder, engine="native")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/smaps")
def test_a_file_does_not_stay_in_memory_beside_its_copy(tmp_path: Path) -> None:
    path = Path(shutil.copytree(FOLDER / "int8", tmp_path / "int8")) / "model.onnx"  # that nobody else has mapped
    initializers = read_initializers(path)
    config, tensors = native.arguments(initializers, Manifest.read(FOLDER).model, path)
    model = kernels.Model(kernels.Config(**config), tensors, native.instruction_set(), 2)
    maps = re.split(r"\n(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text(encoding="utf-8"))
    (own,) = (entry for entry in maps if f"{path}.data" in entry)
    size, resident = (int(re.findall(rf"^{name}: +(\d+) kB", own, re.MULTILINE)[0]) for name in ("Size", "Rss"))
    assert resident < size / 10
    assert np.array_equal(tensors[0], read_initializers(path)["shared.weight"])  # and is read again where it is wanted
    del model


FAULTS = """
import resource
import numpy as np
from instructor_onnx import INSTRUCTOR
from instructor_onnx.tokens import Tokens

engine = INSTRUCTOR("instructor-mini", device="cpu", engine="native", num_threads=2)._engine
for texts in range(1, 25):
    tokens = Tokens(np.full(64 * texts, 5, np.int32), np.arange(texts + 1) * 64, np.zeros(texts, np.int64), 0)
    for call in range(15):
        if call == 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        engine.sentence_embeddings(tokens, np.arange(texts))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="faults are counted as Linux does")
def test_a_call_takes_over_the_memory_of_the_one_before() -> None:
    """An allocator gives some sizes back to the system after each call, and every page of them then costs a fault."""
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    faults = [float(line) for line in done.stdout.splitlines()]
    assert len(faults) == 24
    assert max(faults) < 200  # a call; glibc left to itself: 1,000. A thread's stack has a few
