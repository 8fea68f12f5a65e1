"""The same model in torch, as the judge of what was exported: transformers' T5 encoder, then the reference's steps.

Shares no code with the runtime or the graph: rows are joined, tokenised, masked and pooled here once more, so
that a mistake there cannot hide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import transformers
from tokenizers import Tokenizer

from instructor_onnx_export.checkpoint.config import Config
from instructor_onnx_export.checkpoint.folder import CheckpointError, brief
from instructor_onnx_export.checkpoint.names import DENSE, EMBEDDING, EMBEDDING_COPY
from instructor_onnx_export.checkpoint.read import Checkpoint

Float32 = npt.NDArray[np.float32]


class Oracle:
    """A checkpoint as the reference computes it, in float32 on the CPU, one row at a time.

    Raises:
        CheckpointError: its tokenizer cannot be used, or fails on a text.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._config = checkpoint.config
        self._folder = checkpoint.folder
        # float32 weights stay in their mapped files; others become a float32 copy.
        weights = {name: tensor.float() for name, tensor in checkpoint.weights.items()}
        self._dense = weights.pop(DENSE, None)
        self.encoder = _build_encoder(checkpoint.config, weights)
        with self._tokenizer_errors():
            self._tokenizer = transformers.PreTrainedTokenizerFast(
                tokenizer_object=Tokenizer.from_buffer(checkpoint.tokenizer_json)
            )

    def encode(self, rows: Sequence[tuple[str, str]]) -> list[tuple[Float32, Float32]]:
        """For each (instruction, text): the vector [embedding_dim] and the token embeddings [length, d_model].

        A row whose instruction covers every token gives the zero vector, where the reference may raise.
        """
        with torch.inference_mode():
            return [self._encode_row(instruction, text) for instruction, text in rows]

    def _encode_row(self, instruction: str, text: str) -> tuple[Float32, Float32]:
        ids = self._token_ids((instruction + text.strip()).strip())
        k = len(self._token_ids(instruction.strip())) - 1  # without </s>
        k = 0 if k <= 1 else k
        input_ids = torch.tensor([ids])  # [1, length]
        hidden = self.encoder(input_ids=input_ids, attention_mask=torch.ones_like(input_ids)).last_hidden_state[0]
        weights = (torch.arange(len(ids)) >= k).to(hidden.dtype)  # [length]
        vector = (hidden * weights[:, None]).sum(dim=0) / weights.sum().clamp(min=1e-9)  # [d_model]
        if self._dense is not None:
            vector = torch.nn.functional.linear(vector, self._dense)  # [embedding_dim]
        if self._config.normalize:
            vector = torch.nn.functional.normalize(vector, dim=0, eps=1e-12)
        return vector.numpy(), hidden.numpy()

    def _token_ids(self, text: str) -> list[int]:
        with self._tokenizer_errors():
            encoded = self._tokenizer(text, truncation=True, max_length=self._config.max_seq_length, padding=False)
        return list(encoded["input_ids"])

    @contextlib.contextmanager
    def _tokenizer_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # tokenizers raises bare Exceptions, and panics, which are not even those
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise CheckpointError(
                f"{self._folder}: its tokenizer cannot be used ({brief(error)}). Use the one that came with the model."
            ) from None


def _build_encoder(config: Config, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """transformers' T5 encoder on the given tensors, without a copy of them."""
    with torch.device("meta"):
        encoder = transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=config.vocab_size,
                d_model=config.d_model,
                d_kv=config.d_kv,
                d_ff=config.d_ff,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                feed_forward_proj=config.feed_forward,
                layer_norm_epsilon=config.layer_norm_epsilon,
                relative_attention_num_buckets=config.relative_attention_num_buckets,
                relative_attention_max_distance=config.relative_attention_max_distance,
                pad_token_id=config.pad_token_id,
                eos_token_id=config.eos_token_id,
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
    tied = {EMBEDDING_COPY: weights[EMBEDDING]}
    encoder.load_state_dict(weights | tied, strict=True, assign=True)
    module: torch.nn.Module = encoder.eval()
    return module
