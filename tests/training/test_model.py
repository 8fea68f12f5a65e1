"""The computation against transformers and the formula; the folder against what other readers expect of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from instructor_onnx.inputs import Row
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_training.model import Embedder, load_checkpoint, save_checkpoint
from instructor_onnx_training.tokens import make_batch
from safetensors.torch import load_file
from transformers import AutoTokenizer, T5EncoderModel

ROWS = [("represent the sentence: ", "a cat sits"), ("", "dog"), ("represent the question for ", "what is fever?")]


@torch.inference_mode()
def vectors(model: Embedder, tokenizer: Tokenizer) -> np.ndarray:
    result: np.ndarray = model(make_batch(tokenizer, ROWS, max_length=32)).numpy()
    return result


def test_forward_is_the_reference_computation_done_one_row_at_a_time(checkpoint: Path, tokenizer: Tokenizer) -> None:
    encoder = T5EncoderModel.from_pretrained(checkpoint).eval()
    dense = load_file(checkpoint / "2_Dense/model.safetensors")["linear.weight"].numpy()
    expected = []
    for row in ROWS:
        alone = tokenizer([Row(*row)], 32)
        ids, k = torch.from_numpy(alone.ids).long(), int(alone.starts[0])
        with torch.inference_mode():
            hidden = encoder(input_ids=ids[None]).last_hidden_state[0].numpy()  # [length, d_model]
        vector = dense @ hidden[k:].mean(0)
        expected.append(vector / np.linalg.norm(vector))
    # padded fp32 against unpadded fp32
    np.testing.assert_allclose(vectors(load_checkpoint(checkpoint).eval(), tokenizer), expected, atol=2e-6)


def test_nothing_to_pool_gives_zeros(model: Embedder, tokenizer: Tokenizer) -> None:
    batch = make_batch(tokenizer, [("", "cat")], max_length=32)
    batch.pooling_mask.zero_()
    assert model(batch).tolist() == [[0.0] * 12]


def test_the_saved_folder_loads_to_the_same_vectors_and_other_readers_find_their_files(
    model: Embedder, tokenizer: Tokenizer, checkpoint: Path, tmp_path: Path
) -> None:
    target = tmp_path / "saved"
    save_checkpoint(model, target, tokenizer_from=checkpoint, card="# card\n")
    np.testing.assert_array_equal(vectors(load_checkpoint(target).eval(), tokenizer), vectors(model, tokenizer))
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    wanted = "1_Pooling/config.json 2_Dense/config.json 2_Dense/model.safetensors 3_Normalize/.gitkeep README.md"
    wanted += " config.json config_sentence_transformers.json model.safetensors modules.json"
    wanted += " sentence_bert_config.json tokenizer.json tokenizer_config.json"
    assert names == set(wanted.split())
    modules = json.loads((target / "modules.json").read_text())
    assert [module["type"].rsplit(".", 1)[1] for module in modules] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert all((target / module["path"]).is_dir() for module in modules)
    weights = load_file(target / "model.safetensors")
    assert {"shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"} <= set(weights)
    text = "represent the sentence: a cat sits"
    assert AutoTokenizer.from_pretrained(target)(text)["input_ids"] == tokenizer([Row("", text)], 32).ids.tolist()


def test_half_precision_loads_to_nearly_the_same_vectors(
    model: Embedder, tokenizer: Tokenizer, checkpoint: Path, tmp_path: Path
) -> None:
    save_checkpoint(model, tmp_path / "half", tokenizer_from=checkpoint, half=True)
    stored = load_file(tmp_path / "half/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert (
        T5EncoderModel.from_pretrained(tmp_path / "half").dtype == torch.float32
    )  # for readers that follow the config
    half = load_checkpoint(tmp_path / "half").eval()
    assert half.dense.weight.dtype == torch.float32
    assert ((vectors(half, tokenizer) * vectors(model, tokenizer)).sum(1) > 0.99999).all()  # 11 bits of mantissa


def test_weights_that_half_cannot_hold_are_refused_and_the_old_folder_stays(
    model: Embedder, checkpoint: Path, tmp_path: Path
) -> None:
    target = tmp_path / "kept"
    save_checkpoint(model, target, tokenizer_from=checkpoint)
    before = (target / "model.safetensors").read_bytes()
    model.encoder.shared.weight.data[3, 3] = 1e6
    with pytest.raises(ValueError, match=r"not finite.*shared\.weight"):
        save_checkpoint(model, target, tokenizer_from=checkpoint, half=True)
    assert (target / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_pickled_weights_of_the_published_layout_load(
    model: Embedder, tokenizer: Tokenizer, checkpoint: Path, tmp_path: Path
) -> None:
    target = tmp_path / "published"
    save_checkpoint(model, target, tokenizer_from=checkpoint)
    torch.save(model.encoder.state_dict(), target / "pytorch_model.bin")
    torch.save({"linear.weight": model.dense.weight.data}, target / "2_Dense/pytorch_model.bin")
    (target / "model.safetensors").unlink()
    (target / "2_Dense/model.safetensors").unlink()
    np.testing.assert_array_equal(vectors(load_checkpoint(target).eval(), tokenizer), vectors(model, tokenizer))


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_checkpoint(tmp_path)
