"""The model that is trained: T5 encoder → masked mean → Dense → unit length; read from and written to a folder.

The layout is that of hkunlp/instructor-* (sentence-transformers 2.2), weights as safetensors. `LAYOUT` is the one
place that spells its paths.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn
from transformers import T5Config, T5EncoderModel

from instructor_onnx_training.files import folder_written_beside
from instructor_onnx_training.tokens import Batch

DEFAULT_MAX_LENGTH = 512
_TIED = "encoder.embed_tokens.weight"  # the same tensor as shared.weight; safetensors refuses to hold it twice
_MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize"))


@dataclass(frozen=True)
class Layout:
    """Where a checkpoint folder keeps what."""

    config: str = "config.json"
    weights: str = "model.safetensors"
    modules: str = "modules.json"
    length: str = "sentence_bert_config.json"
    versions: str = "config_sentence_transformers.json"
    pooling: str = "1_Pooling/config.json"
    dense_config: str = "2_Dense/config.json"
    dense_weights: str = "2_Dense/model.safetensors"
    dense_pickle: str = "2_Dense/pytorch_model.bin"
    normalize: str = "3_Normalize"
    card: str = "README.md"


LAYOUT = Layout()


class Embedder(nn.Module):
    """`encoder` as transformers computes it, and the three steps after it as REFERENCE: mean, Dense, unit length."""

    def __init__(self, encoder: T5EncoderModel, dense: nn.Linear, *, max_length: int = DEFAULT_MAX_LENGTH) -> None:
        super().__init__()
        self.encoder, self.dense, self.max_length = encoder, dense, max_length

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 `[rows, dim]`, unit rows; a row with nothing to pool gives zeros."""
        hidden = self.encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        weights = batch.pooling_mask[:, :, None].to(hidden.dtype)  # [rows, width, 1]
        pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(self.dense(pooled), dim=1, eps=1e-12)

    @property
    def device(self) -> torch.device:
        return self.dense.weight.device


def load_checkpoint(folder: Path) -> Embedder:
    """A checkpoint folder of the family, in fp32; weights are safetensors or pickles (read without their code)."""
    if not (folder / LAYOUT.config).is_file():
        raise FileNotFoundError(f"{folder} is no checkpoint folder: it has no {LAYOUT.config}")
    encoder = T5EncoderModel.from_pretrained(folder, local_files_only=True).float()
    if (folder / LAYOUT.dense_weights).is_file():
        weight = load_file(folder / LAYOUT.dense_weights)["linear.weight"]
    elif (folder / LAYOUT.dense_pickle).is_file():
        weight = torch.load(folder / LAYOUT.dense_pickle, map_location="cpu", weights_only=True)["linear.weight"]
    else:
        raise FileNotFoundError(f"{folder} has no {LAYOUT.dense_weights} (nor a pickle beside it): not this family")
    dense = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    dense.weight.data.copy_(weight)
    length = folder / LAYOUT.length
    max_length = json.loads(length.read_text())["max_seq_length"] if length.is_file() else DEFAULT_MAX_LENGTH
    return Embedder(encoder, dense, max_length=max_length)


def save_checkpoint(
    model: Embedder, target: Path, *, tokenizer_from: Path, half: bool = False, card: str | None = None
) -> None:
    """Write the whole folder beside `target`, then swap it in. `half` stores fp16, after checking that it can."""
    dtype = torch.float16 if half else torch.float32
    encoder = {name: tensor for name, tensor in model.encoder.state_dict().items() if name != _TIED}
    with folder_written_beside(target) as folder:
        for path in (LAYOUT.pooling, LAYOUT.dense_config):
            (folder / path).parent.mkdir()
        (folder / LAYOUT.normalize).mkdir()
        _save(encoder, folder / LAYOUT.weights, dtype)
        _save({"linear.weight": model.dense.weight}, folder / LAYOUT.dense_weights, dtype)
        config: T5Config = model.encoder.config
        config.dtype = torch.float32  # what to compute in, however it is stored: readers take this at its word
        config.architectures = ["T5EncoderModel"]
        config.save_pretrained(folder)
        _dump(folder / LAYOUT.length, {"max_seq_length": model.max_length, "do_lower_case": False})
        _dump(folder / LAYOUT.versions, {"__version__": {"sentence_transformers": "2.2.0"}})
        _dump(
            folder / LAYOUT.modules,
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
                for i, (path, name) in enumerate(_MODULES)
            ],
        )
        pooling = {"word_embedding_dimension": config.d_model, "pooling_mode_cls_token": False}
        pooling |= {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}
        pooling |= {"pooling_mode_mean_sqrt_len_tokens": False}
        # Not in the published file: tells sentence-transformers >= 2.4 to leave the instruction out of the mean,
        # which it otherwise does for the three published names alone.
        _dump(folder / LAYOUT.pooling, pooling | {"include_prompt": False})
        dense = {"in_features": model.dense.in_features, "out_features": model.dense.out_features, "bias": False}
        _dump(folder / LAYOUT.dense_config, dense | {"activation_function": "torch.nn.modules.linear.Identity"})
        (folder / LAYOUT.normalize / ".gitkeep").touch()  # the module has no files, and git keeps no empty folder
        for name in ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (tokenizer_from / name).is_file():
                shutil.copyfile(tokenizer_from / name, folder / name)
        if card is not None:
            (folder / LAYOUT.card).write_text(card, "utf-8")


def _save(tensors: dict[str, torch.Tensor], path: Path, dtype: torch.dtype) -> None:
    stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    broken = [name for name, tensor in stored.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"not finite as {dtype}, so not written: {', '.join(broken)} (train with a lower rate?)")
    path.write_bytes(save(stored, metadata={"format": "pt"}))  # save_file would make the file private (0600)


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
