"""What a loaded server does with a request's inputs: limits, tokens, a place in the queue. Knows no HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from instructor_onnx.engines.cpus import available_cpus
from instructor_onnx.inputs import Row, is_unicode
from instructor_onnx.model import INSTRUCTOR
from instructor_onnx.server.batcher import Batcher
from instructor_onnx.server.errors import ApiError, echoed
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.options import Options
from instructor_onnx.tokens import Piece, Tokens
from instructor_onnx.vectors import Precision

Input = str | list[int]  # a text, or its token ids
Inputs = str | list[str] | list[int] | list[list[int]]
# Characters (or ids) that take less time to tokenise than to hand to another thread and back.
TOKENIZED_AT_ONCE = 2000
WARM_UP_TOKENS = 512  # a row of 32,768 takes half a minute
MOST_PIECES = 65_536  # of an answer of /tokenize, which has about 70 bytes for each


class Embedded(NamedTuple):
    """The answer to a request."""

    vectors: npt.NDArray[Any]  # [inputs, columns], in the form that was asked for
    tokens: int  # of all inputs, instruction and `</s>` included, after cutting


class Service:
    """A model that is ready, and the queue before it.

    Args:
        model: is warmed up here.
        end: called with what has ended the queue's thread, after which nothing is embedded any more.
    """

    def __init__(
        self, model: INSTRUCTOR, options: Options, metrics: Metrics, end: Callable[[BaseException], None]
    ) -> None:
        self.model = model
        self.options = options
        self.model_names = options.model_names or (model.manifest.model.name,)
        self.fingerprint = model.fingerprint
        self._default = model.instruction_of()
        self.presets = {**model.prompts, **options.presets}
        self._instructions = dict.fromkeys(self.model_names, self._default) | {
            f"{name}:{preset}": instruction for name in self.model_names for preset, instruction in self.presets.items()
        }
        self._metrics = metrics
        self._in_progress = 0
        self.tokenization_workers = min(4, available_cpus())
        self._tokenizing = ThreadPoolExecutor(self.tokenization_workers, thread_name_prefix="tokenize")
        long = model.tokenizer.from_ids([("", [0] * WARM_UP_TOKENS)], min(WARM_UP_TOKENS, model.max_seq_length))
        model.engine.sentence_embeddings(long, np.arange(1))  # now, not in the first request
        self._batcher = Batcher(
            model.engine,
            embedding_dim=model.manifest.model.embedding_dim,
            token_budget=model.token_budget,
            max_queue_tokens=options.max_queue_tokens,
            metrics=metrics,
            end=end,
        )

    def close(self) -> None:
        """Finish what waits."""
        self._batcher.close()
        self._tokenizing.shutdown()

    def models(self) -> list[str]:
        """Every `model` that a request may name: each name, alone and with each preset."""
        return list(self._instructions)

    def instruction_of(self, model: str | None) -> str:
        """The instruction that a request's `model` stands for; None is the first name."""
        if model is None:
            return self._default
        if model not in self._instructions:
            raise ApiError(
                "model_not_found",
                f"model: there is no {echoed(model)!r}; there are {', '.join(self.models())}.",
                param="model",
            )
        return self._instructions[model]

    def preset(self, name: str | None) -> str:
        """The instruction of a preset, or of inputs without."""
        if name is None:
            return self._default
        if name not in self.presets:
            known = ", ".join(self.presets) or "none"
            raise ApiError(
                "invalid", f"prompt_name: there is no preset {echoed(name)!r}; there are: {known}.", param="prompt_name"
            )
        return self.presets[name]

    async def embed(
        self,
        inputs: Inputs,
        instruction: str | list[str],
        *,
        truncate: bool | None,
        dimensions: int | None,
        precision: Precision,
        normalize: bool,
        field: str,
    ) -> Embedded:
        """Embed a request's inputs, together with those of other requests.

        Args:
            instruction: one for all inputs, or one for each.
            truncate: cut what is longer than the model takes (else it is an error); None: as the server was set up.
            dimensions: keep the first so many numbers, and give the vectors unit length again; None: all.
            precision: of the numbers, as `encode()` has it.
            normalize: give the vectors unit length.
            field: what the request calls its inputs, for errors.

        Raises:
            ApiError: something about the inputs, or the server has too much to do.
        """
        width = self.model.manifest.model.embedding_dim
        if dimensions is not None and not 1 <= dimensions <= width:
            raise ApiError(
                "invalid", f"dimensions: found {echoed(dimensions)}, this model has 1 to {width}.", param="dimensions"
            )
        try:
            form = self.model.form(precision, dimensions, normalize and not self.model.manifest.model.normalize)
        except ValueError as error:  # a bundle without int8 ranges
            raise ApiError("invalid", f"precision: {error}", param="precision") from None
        rows = self._rows(inputs, instruction, field)
        with self._place():
            started = time.perf_counter()
            cut = self.options.auto_truncate if truncate is None else truncate
            if _size(rows) <= TOKENIZED_AT_ONCE:
                tokens = self._tokens(rows, cut, field)
            else:
                loop = asyncio.get_running_loop()
                tokens = await loop.run_in_executor(self._tokenizing, self._tokens, rows, cut, field)
            self._metrics.tokenize.observe(time.perf_counter() - started)
            self._metrics.truncated.inc(tokens.truncated)
            vectors = await self._batcher.embed(tokens)
        return Embedded(np.ascontiguousarray(form(vectors)), len(tokens.ids))

    async def pieces(self, inputs: Inputs, instruction: str, *, add_special_tokens: bool) -> list[list[Piece]]:
        """The tokens of each text."""
        rows = self._rows(inputs, instruction, "inputs")
        texts = [Row(instruction, text) for instruction, text in rows if isinstance(text, str)]
        if len(texts) != len(rows):
            raise ApiError("invalid", "inputs: expected a string or a list of strings.", param="inputs")

        def pieces() -> list[list[Piece]]:
            found, left = [], MOST_PIECES
            for row in texts:
                found.append(self.model.tokenizer.pieces(row, left, add_special_tokens=add_special_tokens))
                left -= len(found[-1])
                if left < 0:
                    raise ApiError(
                        "payload_too_large",
                        f"inputs: more than {MOST_PIECES:,} tokens. Send fewer at once.",
                        param="inputs",
                    )
            return found

        with self._place():
            return await asyncio.get_running_loop().run_in_executor(self._tokenizing, pieces)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._in_progress >= self.options.max_concurrent_requests:
            raise ApiError(
                "overloaded", f"{self._in_progress} requests are being answered; try again later.", retry_after=1
            )
        self._in_progress += 1
        self._metrics.in_progress.set(self._in_progress)
        try:
            yield
        finally:
            self._in_progress -= 1
            self._metrics.in_progress.set(self._in_progress)

    def _rows(self, inputs: Inputs, instruction: str | list[str], field: str) -> list[tuple[str, Input]]:
        """Each input with its instruction."""
        texts: list[Input]
        if isinstance(inputs, str):
            texts = [inputs]
        elif not inputs:
            raise ApiError("invalid", f"{field}: found an empty list, expected at least one.", param=field)
        elif isinstance(inputs[0], int):
            texts = [[token_id for token_id in inputs if isinstance(token_id, int)]]
        else:
            texts = [text for text in inputs if not isinstance(text, int)]
        if len(texts) > self.options.max_client_batch_size:
            raise ApiError(
                "invalid",
                f"{field}: found {len(texts):,}, at most {self.options.max_client_batch_size:,} can be sent at once "
                "(--max-client-batch-size).",
                param=field,
            )
        instructions = [instruction] * len(texts) if isinstance(instruction, str) else instruction
        if len(instructions) != len(texts):
            raise ApiError(
                "invalid",
                f"instruction: found {len(instructions)}, expected one for all or one for each of the {len(texts)}.",
                param="instruction",
            )
        rows = list(zip(instructions, texts, strict=True))
        if (size := _size(rows)) > self.options.payload_limit:
            raise ApiError(
                "payload_too_large",
                f"{field}: {size:,} characters, the instruction counted with each input; at most "
                f"{self.options.payload_limit:,} (--payload-limit). Send fewer inputs, or a shorter instruction.",
                param=field,
            )
        for index, (prefix, text) in enumerate(rows):
            if not is_unicode(prefix) or (isinstance(text, str) and not is_unicode(text)):
                raise ApiError(
                    "invalid", f"{field}[{index}]: half of a surrogate pair (as \\ud83d alone) is no text.", param=field
                )
        return rows

    def _tokens(self, rows: list[tuple[str, Input]], cut: bool, field: str) -> Tokens:
        tokenizer, longest = self.model.tokenizer, self.model.max_seq_length
        limit = longest if cut else longest + 1  # a token too many tells as much as all
        texts = [Row(instruction, text) for instruction, text in rows if isinstance(text, str)]
        if texts:
            tokens = tokenizer(texts, limit)
        else:
            ids = [(instruction, text) for instruction, text in rows if not isinstance(text, str)]
            self._check_ids(ids, field)
            tokens = tokenizer.from_ids(ids, limit)
        lengths = tokens.lengths
        if lengths.max() > longest:
            index = int(np.argmax(lengths > longest))
            raise ApiError(
                "invalid",
                f"{field}[{index}]: more than {longest:,} tokens with its instruction, which is all that is embedded; "
                "shorten it, or allow it to be cut with `truncate`.",
                param=field,
            )
        if (masked := tokens.starts >= lengths).any():
            raise ApiError(
                "invalid",
                f"{field}[{int(np.argmax(masked))}]: its instruction covers every token, and leaves nothing to embed; "
                "end the instruction with a colon and a space.",
                param=field,
            )
        return tokens

    def _check_ids(self, rows: list[tuple[str, list[int]]], field: str) -> None:
        vocab_size = self.model.manifest.model.vocab_size
        for index, (_, ids) in enumerate(rows):
            if not ids or min(ids) < 0 or max(ids) >= vocab_size:
                raise ApiError(
                    "invalid",
                    f"{field}[{index}]: expected token ids from 0 to {vocab_size - 1:,}, at least one of them. They "
                    "have to be of this model's tokenizer (POST /tokenize), not of OpenAI's.",
                    param=field,
                )


def _size(rows: list[tuple[str, Input]]) -> int:
    """Characters (or ids) that are tokenised: one instruction in a body is joined to each of its inputs."""
    return sum(len(instruction) + len(text) for instruction, text in rows)
