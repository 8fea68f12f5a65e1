"""Any sentence-transformers model teaches, by folder or id; none runs code of its own or is read from a pickle."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from instructor_onnx_export.checkpoint.read import CheckpointError
from instructor_onnx_training.teacher import Teacher, taught, teach
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.fake_hub import FakeHub

pytest.importorskip("sentence_transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "river", "runs"]
TEXTS = ["the cat runs", "dog", "", "the river " * 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 8 numbers, pooled by its first token, in the layout of sentence-transformers."""
    folder = tmp_path_factory.mktemp("teachers") / "first-token"
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes), add_pooling_layer=False).eval().save_pretrained(folder)
    chain = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling")]
    modules = [
        {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for name, path, kind in chain
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 8, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


@pytest.fixture
def editable(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def edit_module(folder: Path, index: int, **changed: str) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[index].update(changed)
    (folder / "modules.json").write_text(json.dumps(modules))


@torch.inference_mode()
def test_its_vectors_are_those_of_its_own_pooling_cut_at_128_tokens(folder: Path) -> None:
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words.enable_truncation(128)
    bert = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    expected = [bert(torch.tensor([words.encode(text).ids])).last_hidden_state[0, 0].numpy() for text in TEXTS]
    found = Teacher.load(str(folder)).encode(TEXTS)
    assert found.dtype == np.float32
    # float32, a batch against a text alone
    np.testing.assert_allclose(found, [vector / np.linalg.norm(vector) for vector in expected], atol=1e-5)


def test_a_teacher_from_the_hub(folder: Path, fake_hub: FakeHub, tmp_path: Path) -> None:
    (published := Path(shutil.copytree(folder, tmp_path / "published")) / "pytorch_model.bin").touch()
    fake_hub.publish("someone/teacher", published.parent)
    teach(TEXTS, tmp_path / "vectors", "someone/teacher", progress=False)
    texts, vectors = taught(tmp_path / "vectors")
    assert texts == TEXTS
    assert np.array_equal(vectors, Teacher.load(str(folder)).encode(TEXTS).astype(np.float16))
    assert "model.safetensors" in fake_hub.fetched
    assert "pytorch_model.bin" not in fake_hub.fetched


def test_a_pickle_is_not_read(editable: Path) -> None:
    (editable / "model.safetensors").rename(editable / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="its weights are a pickle, expected safetensors"):
        Teacher.load(str(editable))


@pytest.mark.parametrize("kind", ["custom_code.Transformer", "sentence_transformers.models.Router"])
def test_code_that_the_model_names_is_not_run(editable: Path, kind: str) -> None:
    edit_module(editable, 0, type=kind)
    with pytest.raises(CheckpointError, match=f"found a module of type {kind}, expected .*other code is not run"):
        Teacher.load(str(editable))


def test_a_path_out_of_the_folder_is_refused(editable: Path) -> None:
    edit_module(editable, 1, path="../1_Pooling")
    with pytest.raises(CheckpointError, match=r"modules\.json"):
        Teacher.load(str(editable))


def test_what_is_no_teacher_is_one_sentence(editable: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Teacher.load(str(tmp_path / "absent"))
    (editable / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="sentence-transformers cannot read it"):
        Teacher.load(str(editable))
    (editable / "modules.json").write_text("{}")
    with pytest.raises(CheckpointError, match="expected a list of objects"):
        Teacher.load(str(editable))
    (editable / "modules.json").unlink()
    with pytest.raises(CheckpointError, match=r"modules\.json: missing"):
        Teacher.load(str(editable))
