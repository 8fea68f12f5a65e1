"""What the training tests need, built here: a vocabulary, a checkpoint of a few thousand weights, pair folders."""

import gzip
import json
import sys
from pathlib import Path

import pytest

# A checkout whose development install predates the trainer still finds it.
sys.path.append(str(Path(__file__).parents[2] / "training"))

import torch
from instructor_onnx.tokens import Tokenizer as RowTokenizer
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_training.model import Embedder, load_checkpoint, save_checkpoint
from instructor_onnx_training.tokens import tokenizer_of
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import Unigram
from torch import nn
from transformers import T5Config, T5EncoderModel

torch.set_num_threads(1)  # models this small only wait for each other

WORDS = [
    "represent",
    "the",
    "a",
    "of",
    "science",
    "medicine",
    "question",
    "sentence",
    "for",
    "retrieving",
    "an",
    "answer",
    "documents",
    "what",
    "is",
    "are",
    "symptoms",
    "treatments",
    "how",
    "who",
    "when",
    "why",
    "cat",
    "dog",
    "fever",
    "cough",
    "river",
    "bank",
    "sits",
    "runs",
    "on",
    "in",
    "to",
    "and",
    "with",
    "theory",
    "sets",
    "apple",
    "query",
]


def tiny_tokenizer() -> Tokenizer:
    """A Unigram vocabulary with T5's ids and pipeline: whole words, then single letters."""
    letters = "abcdefghijklmnopqrstuvwxyz:?.,0123456789"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    pieces += [("▁" + word, -5.0) for word in dict.fromkeys(WORDS)]
    pieces += [("▁", -9.0), *((letter, -10.0) for letter in letters)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return tokenizer


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder in the real layout, random weights, dropout on (so that resuming must restore it)."""
    folder = tmp_path_factory.mktemp("vocabulary")
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=tokenizer.get_vocab_size(), d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4,
        dropout_rate=0.1, feed_forward_proj="relu", use_cache=False, is_encoder_decoder=False,
    )  # fmt: skip
    model = Embedder(T5EncoderModel(config), nn.Linear(16, 12, bias=False))
    target = tmp_path_factory.mktemp("checkpoints") / "tiny"
    save_checkpoint(model.eval(), target, tokenizer_from=folder)
    return target


@pytest.fixture
def model(checkpoint: Path) -> Embedder:
    return load_checkpoint(checkpoint).eval()


@pytest.fixture(scope="session")
def tokenizer(checkpoint: Path) -> RowTokenizer:
    return tokenizer_of(read_checkpoint(checkpoint))


def write_pairs(data: Path, source: str, rows: list[dict[str, str]]) -> None:
    (data / source).mkdir(parents=True)
    with gzip.open(data / source / "pairs.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small sources that reach every kind of task: questions with passages, medical questions, entailment."""
    data = tmp_path_factory.mktemp("data")
    things = ["river", "bank", "cat", "dog", "apple", "theory"]
    squad = [
        {"a": f"{word} the {thing} -lrb- {n} -rrb- ?", "b": f"the {thing} sits on number {n} ."}
        for n, thing in enumerate(things)
        for word in ("what is", "who runs", "why is", "how is", "when did")
    ]
    write_pairs(data, "squad_sentences", squad)
    asked = ("What are the symptoms of {} ?", "What are the treatments for {} ?", "Is {} inherited ?")
    diseases = ["fever", "cough", "gout", "flu"]
    medquad = [{"a": q.format(d), "b": f"{d} answer {n}"} for d in diseases for n, q in enumerate(asked)]
    write_pairs(data, "medquad", medquad)
    esnli = [
        {"a": f"a {thing} sits", "b": f"{start} {thing} {end}", "label": label}
        for thing in things
        for start, end, label in (("a", "is", "entailment"), ("no", "runs", "contradiction"), ("a", "and", "neutral"))
    ]
    write_pairs(data, "esnli", esnli)
    return data
