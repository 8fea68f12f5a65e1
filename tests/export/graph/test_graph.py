"""The graph itself: what it computes for every member of the family, at any shape, and what it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instructor_onnx import INSTRUCTOR
from instructor_onnx.bundle import Manifest
from instructor_onnx.engines import native, processor
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.ort import Session
from instructor_onnx_export import export
from instructor_onnx_export.checkpoint.names import EPSILON
from instructor_onnx_export.graph.t5 import relative_position_bucket
from onnx import numpy_helper
from transformers.models.t5.modeling_t5 import T5Attention

from tests.checkpoints import make_checkpoint

Int64 = npt.NDArray[np.int64]
OUTPUTS = ["sentence_embedding", "token_embeddings"]
TOKENS = 200  # fewer than any small vocabulary has


def open_variant(bundle: Path, variant: str) -> Session:
    return Session.open(bundle / variant / "model.onnx", Device("cpu"))


@pytest.fixture(scope="module")
def family_int8(family_bundle: Path) -> Session:
    return open_variant(family_bundle, "int8")


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_what_was_verified_of_every_member(family_bundle: Path, variant: str) -> None:
    """The fixture's export refuses a member that is too far off; this pins what "too far" was.

    Whether a text is the same in any batch is the processor's matter on onnxruntime, in fp32 and int4.
    """
    verification = Manifest.read(family_bundle).variants[variant].verification
    assert set(verification) == {"onnxruntime"} | ({"native"} if native.is_verified() else set())
    for engine, found in verification.items():
        assert found.engine.startswith(engine)
        assert found.processor == processor.name()
        assert found.rows > 40
        if variant == "fp32":
            assert max(found.max_abs_diff, found.token_max_abs_diff) <= 1e-5
        else:
            assert found.cosine_min >= {"int8": 0.998, "int4": 0.98}[variant]
            assert found.max_abs_diff > 1e-5  # it is another arithmetic, not fp32 under another name
        if engine == "native" or variant == "int8":
            assert found.batch_invariant


@settings(max_examples=30, deadline=None)
@given(data=st.data(), length=st.integers(1, 300), pooled_from=st.integers(0, 300))
def test_int8_is_the_same_in_any_batch_and_under_any_padding(
    family_int8: Session, data: st.DataObject, length: int, pooled_from: int
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    ids = random.integers(3, TOKENS, (1, length))
    real = np.ones_like(ids)
    pooling = (np.arange(length) >= pooled_from).astype(np.int64)[None]
    alone = family_int8.run(OUTPUTS, ids, real, pooling)

    batch, width = data.draw(st.integers(1, 6)), length + data.draw(st.integers(0, 400))
    lengths = random.integers(1, width + 1, batch)
    row = data.draw(st.integers(0, batch - 1))
    lengths[row] = length
    mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
    input_ids = random.integers(3, TOKENS, (batch, width))  # padding holds any ids: the mask alone decides
    input_ids[row, :length] = ids[0]
    pooling_mask = mask.copy()
    pooling_mask[row] = 0
    pooling_mask[row, :length] = pooling[0]
    together = family_int8.run(OUTPUTS, input_ids, mask, pooling_mask)

    assert np.array_equal(together[0][row], alone[0][0])
    assert np.array_equal(together[1][row, :length], alone[1][0])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_int8_is_the_same_with_any_number_of_threads(bundle: Path, threads: int) -> None:
    ids = np.random.default_rng(0).integers(3, 200, (4, 90))
    ones = np.ones_like(ids)
    expected = Session.open(bundle / "int8/model.onnx", Device("cpu"), 1).run(OUTPUTS, ids, ones, ones)
    found = Session.open(bundle / "int8/model.onnx", Device("cpu"), threads).run(OUTPUTS, ids, ones, ones)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_an_empty_pool_gives_zeros(bundle: Path, variant: str) -> None:
    ids = np.full((1, 4), 5, dtype=np.int64)
    vector = open_variant(bundle, variant).run(["sentence_embedding"], ids, np.ones_like(ids), np.zeros_like(ids))[0]
    assert vector.tolist() == np.zeros_like(vector).tolist()


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_operators_types_and_weights(bundle: Path, variant: str) -> None:
    """Portable operators, and every weight stored once, as it is multiplied: no node turns or casts one."""
    model = onnx.load(bundle / variant / "model.onnx", load_external_data=False)
    assert model.ir_version <= 10  # what onnxruntime 1.20 reads
    assert {opset.domain: opset.version for opset in model.opset_import}.items() <= {"": 18, "com.microsoft": 1}.items()
    stock = {node.op_type for node in model.graph.node if node.domain}
    products = {"fp32": set(), "int8": {"MatMulIntegerToFloat"}, "int4": {"MatMulNBits"}}[variant]
    assert stock == products

    large = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_location == 1}
    used = [name for node in model.graph.node for name in node.input if name in large]
    assert sorted(used) == sorted(large)  # each once
    users = {node.op_type for node in model.graph.node for name in node.input if name in large}
    assert users <= {"Gather", "MatMul", "Mul", *products, *(["Cast"] if variant == "int4" else [])}

    inputs = {value.name: value.type.tensor_type for value in model.graph.input}
    assert list(inputs) == ["input_ids", "attention_mask", "pooling_mask"]
    for kind in inputs.values():
        assert kind.elem_type == onnx.TensorProto.INT64
        assert [dim.dim_param for dim in kind.shape.dim] == ["batch", "sequence"]
    assert [value.name for value in model.graph.output] == OUTPUTS


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_every_norm_adds_the_one_epsilon(bundle: Path, variant: str) -> None:
    """By its name the native engine finds it."""
    model = onnx.load(bundle / variant / "model.onnx", load_external_data=False)
    (epsilon,) = (tensor for tensor in model.graph.initializer if tensor.name == EPSILON)
    assert numpy_helper.to_array(epsilon) == np.float32(1e-6)
    users = [node.op_type for node in model.graph.node if EPSILON in node.input]
    assert users == ["Add"] * (2 * Manifest.read(bundle).model.num_layers + 1)


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_the_native_engine_gives_the_same_in_any_batch_down_to_one_token(bundle: Path, variant: str) -> None:
    if not native.is_verified():
        pytest.skip("needs the native kernels, and an instruction set of theirs beyond scalar code")
    assert not differing(INSTRUCTOR(bundle, variant=variant, device="cpu", engine="native"))


def test_int4_is_the_same_in_any_batch_where_tokens_are_computed_in_pairs(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MatMulNBits does on x86-64: a last token that has no partner comes out otherwise."""

    def in_pairs(session: Session, outputs: list[str], input_ids: Int64, *masks: Int64) -> list[Any]:
        tokens = np.repeat(input_ids[..., None], 32, axis=2).astype(np.float32)
        tokens[-1, -1] += input_ids.size % 2
        found = {"token_embeddings": tokens, "sentence_embedding": tokens.sum(axis=1)[:, :24]}
        return [found[name] for name in outputs]

    monkeypatch.setattr(Session, "run", in_pairs)
    assert not differing(INSTRUCTOR(bundle, variant="int4", device="cpu", engine="onnxruntime"))
    assert differing(INSTRUCTOR(bundle, variant="int8", device="cpu", engine="onnxruntime"))  # not padded for nothing


def differing(model: INSTRUCTOR) -> list[object]:
    """The rows of one token and more that have another vector or token alone than together."""
    rows = ["", "a", ["Represent the sentence: ", "a"], "the river rises in the hills " * 30, "the sea"]
    together = model.encode(rows, output_value=None)
    lengths = [len(row["input_ids"]) for row in together]
    assert min(lengths) == 1
    assert any(length % 2 for length in lengths)
    alone = [model.encode([row], output_value=None)[0] for row in rows]
    pairs = zip(rows, together, alone, strict=True)
    return [row for row, a, b in pairs if not all(map(np.array_equal, a.values(), b.values()))]


def test_int4_weights_are_four_bits(tmp_path: Path) -> None:
    """And a float16 scale for 128 of them; the embedding table, a byte each."""
    folder = tmp_path / "checkpoint"
    checkpoint = make_checkpoint(folder, d_model=128, d_kv=32, d_ff=256, dense_dim=128, num_layers=1)
    manifest = export(checkpoint, tmp_path / "bundle", variants=["int4"], show_progress=False)
    in_products, in_dense = 4 * 128 * 128 + 2 * 128 * 256, 128 * 128
    expected = in_products // 2 + 2 * in_products // 128 + 2 * in_dense + manifest.model.vocab_size * (128 + 4)
    assert (tmp_path / "bundle/int4/model.onnx.data").stat().st_size == pytest.approx(expected, abs=4096)


def test_int8_weights_are_int8(bundle: Path) -> None:
    sizes = {
        variant: sum(path.stat().st_size for path in (bundle / variant).glob("*.data")) for variant in ("fp32", "int8")
    }
    model = onnx.load(bundle / "int8/model.onnx", load_external_data=False)
    wide = [t.name for t in model.graph.initializer if len(t.dims) == 2 and min(t.dims) > 1 and t.data_type != 3]
    assert wide == ["encoder.relative_attention_bias", "dense.linear.weight"]  # small, and outside the products
    assert sizes["int8"] < 0.4 * sizes["fp32"]  # at d_model 32 the scales and the two above still weigh


@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (32, 64), (64, 256), (8, 20)])
def test_buckets_are_those_of_transformers(buckets: int, furthest: int) -> None:
    distance = torch.arange(-3 * furthest, 3 * furthest + 1)
    expected = T5Attention._relative_position_bucket(
        distance, bidirectional=True, num_buckets=buckets, max_distance=furthest
    )
    assert torch.equal(relative_position_bucket(distance, buckets, furthest), expected)
    # What the graph's table relies on: past the furthest distance nothing changes.
    assert torch.equal(relative_position_bucket(distance.clamp(-furthest, furthest), buckets, furthest), expected)
