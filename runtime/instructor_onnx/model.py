"""INSTRUCTOR: texts under instructions -> vectors. The other modules, called in order."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from instructor_onnx import hub, vectors
from instructor_onnx.batches import plan_batches
from instructor_onnx.compatibility import Familiar, check_constructor, import_torch
from instructor_onnx.engines.engine import Engine
from instructor_onnx.inputs import Row, as_rows
from instructor_onnx.loading import load
from instructor_onnx.long_texts import Cuts, LongTexts, as_chunks, embed
from instructor_onnx.pool import DevicePool
from instructor_onnx.tokens import ROWS_AT_ONCE, Tokenizer, Tokens
from instructor_onnx.vectors import Form, Precision, SimilarityName

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Detail = dict[str, npt.NDArray[Any]]  # of one row, by the names that `encode` gives
OutputValue = Literal["sentence_embedding", "token_embeddings"] | None

logger = logging.getLogger(__name__)

ROWS_NAMED = 5  # rows that a warning names before it only counts


class INSTRUCTOR(Familiar):
    """An INSTRUCTOR model from a bundle, with the `encode()` of `InstructorEmbedding`. Thread-safe.

    Args:
        model_name_or_path: a bundle folder (`instructor-onnx export` makes one), a Hugging Face id of one, or
            "instructor-mini", a very small model that comes with this package.
        variant: "fp32", "int8", ... as the bundle has them; None: the most exact one that the device runs well.
        device: "cpu", "cuda" or "cuda:N", or a torch.device; None: CUDA where onnxruntime has it and there is a GPU,
            else the CPU.
        engine: "native" (fp32, int8 and int4 on CPUs) or "onnxruntime" (an extra); None: native where it runs the
            variant and its self-check passed on this machine, else onnxruntime.
        num_threads: CPU threads of one run; None: what affinity and container quota allow.
        token_budget: most tokens of one run, padding counted; None: the engine's default.
        cuda_graphs: on a GPU, record runs of up to 1,024 tokens as CUDA graphs and replay them, which spares a text
            alone the launches of a hundred kernels; False: run them all alike.
        revision, token, cache_folder, local_files_only: as in huggingface_hub, for an id.
        prompts: instructions by name, beside those that the bundle has, as {"query": ..., "document": ...}.
        default_prompt_name: of the prompt for rows without an instruction; None: the bundle's, if any.
        truncate_dim: numbers kept of every vector; None: all.
        similarity_fn_name: of `similarity`: "cosine", "dot", "euclidean" or "manhattan"; None: the bundle's.
        others: sentence-transformers' parameters; an error says what to do instead where one can have no effect.

    Raises:
        FileNotFoundError: no such folder and no such id.
        BundleError: the bundle cannot be used; names the file and the fix.
        ValueError: no such variant, device or engine, an engine that does not run that variant there, or more
            threads than an engine takes.
        RuntimeError: CUDA was asked for and cannot be had, or no instruction set passed the native self-check.
        MemoryError: there is none for the weights.
        ImportError: the engine is not installed; names the line that installs it.

    >>> model = INSTRUCTOR("instructor-mini", device="cpu")
    >>> model.encode("3D ActionSLAM").shape
    (384,)
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        variant: str | None = None,
        device: Any = None,
        engine: str | None = None,
        num_threads: int | None = None,
        token_budget: int | None = None,
        cuda_graphs: bool = True,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_folder: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        truncate_dim: int | None = None,
        similarity_fn_name: SimilarityName | None = None,
        **others: Any,
    ) -> None:
        token = check_constructor(others, token)
        counts = {"num_threads": num_threads, "token_budget": token_budget, "truncate_dim": truncate_dim}
        for name, value in counts.items():
            if value is not None:
                _check_positive(name, value)
        options = hub.HubOptions(revision, token, cache_folder, local_files_only)
        loaded = load(model_name_or_path, variant, _device_name(device), engine, num_threads, cuda_graphs, options)
        self.folder, self.manifest, self.variant, self._tokenizer, self._engine = loaded
        self._token_budget = token_budget or self._engine.token_budget
        self._max_seq_length = self.manifest.model.max_seq_length
        self.prompts = {**self.manifest.prompts, **(prompts or {})}
        self.default_prompt_name = default_prompt_name or self.manifest.default_prompt_name
        self.truncate_dim = truncate_dim
        self.similarity_fn_name = similarity_fn_name or cast(SimilarityName, self.manifest.similarity_fn_name)
        for name, prompt in self.prompts.items():
            if not isinstance(prompt, str):
                raise ValueError(
                    f"prompts: {name!r:.60} is {type(prompt).__name__} ({prompt!r:.40}), expected a string."
                )
        self.instruction_of(None, None)  # an unknown default is told now
        # What opens it again elsewhere: a folder by its whole path, an id as it was given
        local = Path(model_name_or_path).expanduser()
        self._opening: dict[str, Any] = {
            "model_name_or_path": local.resolve() if local.is_dir() else model_name_or_path,
            "variant": self.variant,
            "engine": engine,
            "num_threads": num_threads,
            "token_budget": token_budget,
            "cuda_graphs": cuda_graphs,
            **dataclasses.asdict(options),
        }

    def __repr__(self) -> str:
        return (
            f"INSTRUCTOR({self.manifest.model.name!r}, variant={self.variant!r}, device={self.device!r}, "
            f"embedding_dim={self.get_embedding_dimension()}, max_seq_length={self.max_seq_length}, "
            f"engine={self.engine_name!r}, num_threads={self._engine.num_threads})"
        )

    @property
    def device(self) -> str:
        """Where it runs: "cpu" or "cuda:N".

        >>> INSTRUCTOR("instructor-mini", device="cpu").device
        'cpu'
        """
        return str(self._engine.device)

    @property
    def engine_name(self) -> str:
        """What computes: "onnxruntime", or "native" with its instruction set, as in "native avx2".

        >>> INSTRUCTOR("instructor-mini", engine="onnxruntime").engine_name
        'onnxruntime'
        """
        return self._engine.description

    @property
    def max_seq_length(self) -> int:
        """Tokens kept of instruction and text together, `</s>` included. May be set, also past 512.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> model.max_seq_length = 600
        >>> model.tokenize("the river rises " * 1000)["input_ids"].shape
        (1, 600)
        """
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        _check_positive("max_seq_length", value)
        self._max_seq_length = value

    @property
    def tokenizer(self) -> Tokenizer:
        """Makes the tokens; for callers that schedule their runs themselves, as the server does."""
        return self._tokenizer

    @property
    def engine(self) -> Engine:
        """Runs the tokens; see `tokenizer`."""
        return self._engine

    @property
    def token_budget(self) -> int:
        """Most tokens of one run, padding counted.

        >>> INSTRUCTOR("instructor-mini", token_budget=4096).token_budget
        4096
        """
        return self._token_budget

    @property
    def fingerprint(self) -> str:
        """What decides the bits of a vector, in 16 hexadecimal digits: weights, graph, tokenizer and arithmetic.

        The native engine gives the same bits under the same fingerprint, on every processor. onnxruntime's is the same
        on every CPU (another on GPUs) and its vectors are nearly so. Vectors of two fingerprints do not belong in one
        index. What else belongs beside vectors: the instruction, and `max_seq_length` where it was changed.

        >>> model = INSTRUCTOR("instructor-mini", engine="native")
        >>> len(model.fingerprint), model.fingerprint == INSTRUCTOR("instructor-mini", engine="onnxruntime").fingerprint
        (16, False)
        """
        return self.manifest.fingerprint(self.variant, self._engine.arithmetic)

    @property
    def int8_ranges(self) -> Float32:
        """Ranges of int8 and uint8 embeddings, float32 [2, embedding_dim], from the export's calibration.

        All dimensions share one step, so that products of int8 codes are those of the vectors, but for a factor.

        Raises:
            ValueError: the bundle was exported before there were any; names the fix.

        >>> INSTRUCTOR("instructor-mini").int8_ranges.shape
        (2, 384)
        """
        if self.manifest.int8_scale is None:
            raise ValueError(
                f"{self.folder}: has no range of int8 embeddings; it was exported by an earlier version. Export the "
                "checkpoint again, or use quantize_embeddings(vectors, precision, calibration_embeddings=...)."
            )
        return vectors.symmetric_ranges(self.manifest.int8_scale, self.manifest.model.embedding_dim)

    def get_embedding_dimension(self) -> int:
        """Numbers of a sentence embedding, as `truncate_dim` leaves them.

        >>> INSTRUCTOR("instructor-mini").get_embedding_dimension()
        384
        >>> INSTRUCTOR("instructor-mini", truncate_dim=128).get_embedding_dimension()
        128
        """
        whole = self.manifest.model.embedding_dim
        return whole if self.truncate_dim is None else min(whole, self.truncate_dim)

    def instruction_of(self, prompt: str | None = None, prompt_name: str | None = None) -> str:
        """The instruction of rows that come without one, as `encode` chooses it.

        Raises:
            ValueError: prompt and prompt_name, or no prompt of that name.

        >>> INSTRUCTOR("instructor-mini").instruction_of(prompt_name="document")
        'Represent the document for retrieval: '
        """
        if prompt is not None and prompt_name is not None:
            raise ValueError(f"prompt={prompt!r:.60} and prompt_name={prompt_name!r:.60}: give one of them.")
        if prompt is not None:
            return prompt
        name = self.default_prompt_name if prompt_name is None else prompt_name
        if name is None:
            return ""
        if name not in self.prompts:
            raise ValueError(
                f"prompt_name: found {name!r:.60}; this model has {', '.join(map(repr, self.prompts)) or 'none'}. "
                "Name one of these, or give more: INSTRUCTOR(..., prompts={'query': ..., 'document': ...})."
            )
        return self.prompts[name]

    def form(
        self, precision: Precision = "float32", truncate_dim: int | None = None, normalize_embeddings: bool = False
    ) -> Form:
        """What `encode` makes of a vector. For callers that schedule their runs themselves.

        Raises:
            ValueError: as `encode`.

        >>> form = INSTRUCTOR("instructor-mini").form("binary", 256)
        >>> form.dtype, form.columns
        (dtype('int8'), 32)
        """
        vectors.check_precision(precision)
        if truncate_dim is None:
            truncate_dim = self.truncate_dim
        else:
            _check_positive("truncate_dim", truncate_dim)
        sizes = self.manifest.model
        dim = min(truncate_dim or sizes.embedding_dim, sizes.embedding_dim)
        unit = normalize_embeddings or (sizes.normalize and dim < sizes.embedding_dim)
        if not precision.endswith("int8"):
            return Form(dim, precision, unit, None)
        if normalize_embeddings and not sizes.normalize:
            raise ValueError(
                f"normalize_embeddings=True, precision={precision!r}: this model's vectors have lengths of their own, "
                "and so have its int8 ranges. Leave normalize_embeddings out."
            )
        return Form(dim, precision, unit, self.int8_ranges[:, :dim])

    def tokenize(self, sentences: Any) -> dict[str, Int64]:
        """What the model is fed for `sentences` (every form that `encode` takes).

        Returns:
            `input_ids`, `attention_mask` (every real token) and `pooling_mask` (those after the instruction):
            int64 [rows, longest], padded on the right with 0.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> model.tokenize([["Represent the title: ", "3D ActionSLAM"]])["pooling_mask"].tolist()
        [[0, 0, 0, 0, 1, 1, 1, 1, 1]]
        """
        rows, _ = as_rows(sentences)
        tokens = self._tokenizer(rows, self.max_seq_length)
        names = ("input_ids", "attention_mask", "pooling_mask")
        return dict(zip(names, tokens.padded(np.arange(len(rows))), strict=True))

    def encode(
        self,
        sentences: Any,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: OutputValue = "sentence_embedding",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        precision: Precision | None = "float32",
        truncate_dim: int | None = None,
        pool: DevicePool | None = None,
        chunk_size: int | None = None,
        long_texts: LongTexts = "cut",
        tokens_per_chunk: int | None = None,
        chunk_overlap: int = 0,
    ) -> Any:
        """Embed texts under their instructions.

        Args:
            sentences: one string, or any iterable of rows: a string (no instruction), `[instruction, text]`,
                `(instruction, text)` or `{"instruction": ..., "text": ...}`.
            batch_size: most rows of one run (the token budget may make it fewer).
            show_progress_bar: None: where this package's logger is at INFO or below.
            output_value: "sentence_embedding"; "token_embeddings" (every token of instruction and text, `</s>`
                too, before Dense and Normalize); None: a dict of everything for each row.
            convert_to_numpy: arrays; False (with convert_to_tensor False too): a list of torch tensors.
            convert_to_tensor: torch tensors on the model's device, stacked where they are vectors; wins over
                convert_to_numpy.
            device: kept for compatibility; None or the device the model is on.
            normalize_embeddings: gives vectors unit length; an INSTRUCTOR's already have it.
            prompt_name: of the instruction in `prompts` for rows that come without one; None: the default's, if any.
            prompt: that instruction itself.
            precision: "float32"; "int8" or "uint8": a byte a number, by `int8_ranges`; "binary" or "ubinary": its
                sign, eight to a byte (as int8 or uint8).
            truncate_dim: numbers kept of each vector, which has unit length again; None: the model's `truncate_dim`.
                Codes of other precisions are those of the whole vector, cut.
            pool: of `start_multi_process_pool`; its devices share the rows.
            chunk_size: rows of a device of the pool at a time; None: a tenth of its share, at most 5,000.
            long_texts: what becomes of a text past max_seq_length: "cut"; "mean" of windows, each under the row's
                instruction, to one vector; "chunks", the vector of each window; "late_chunks", vectors of parts of
                a window that is run whole. docs/use.md says which serves.
            tokens_per_chunk: most tokens of a window, or of a late chunk, the instruction's not counted; None: what
                max_seq_length leaves, of late chunks 128.
            chunk_overlap: tokens that a window repeats of the one before, at most half of them.

        Returns:
            sentence_embedding: float32 [rows, embedding_dim] (or of the precision and width asked for);
            [embedding_dim] for one plain string;
            of chunks: for each row a list of `Chunk(start, end, embedding)`, at least one; text[start:end] is the part;
            token_embeddings: a list of float32 [length, d_model];
            None: a list of dicts with `input_ids`, `attention_mask` (instruction zeroed) [length],
            `token_embeddings` [length, d_model] and `sentence_embedding` [embedding_dim].

        Raises:
            TypeError: names the row and what was expected.
            ValueError: a bad batch_size, output_value, precision, truncate_dim or device, an unknown prompt_name, or
                prompt and prompt_name; or a bad or needless option of long texts.
            ImportError: torch tensors were asked for and torch is not installed.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> model.encode([["Represent the Science title: ", "3D ActionSLAM"], "a text of its own"]).shape
        (2, 384)
        >>> model.encode(["a text", "another"], prompt_name="document", precision="binary").shape  # a bit a number
        (2, 48)
        >>> model.encode("a text of its own", output_value="token_embeddings").shape  # 5 tokens and </s>
        (6, 256)
        >>> text = "The river rises in the hills. " * 100
        >>> [(chunk.start, chunk.end) for chunk in model.encode(text, long_texts="chunks")]
        [(0, 1912), (1913, 2999)]
        """
        _check_positive("batch_size", batch_size)
        if output_value not in ("sentence_embedding", "token_embeddings", None):
            raise ValueError(
                f"output_value: found {output_value!r}, expected 'sentence_embedding', 'token_embeddings' or None."
            )
        cuts = Cuts(long_texts, tokens_per_chunk, chunk_overlap)
        if long_texts != "cut" and output_value != "sentence_embedding":
            raise ValueError(f"long_texts={long_texts!r} gives sentence embeddings: leave output_value as it is.")
        precision = precision or "float32"
        if output_value == "token_embeddings" and precision != "float32":
            raise ValueError(f"precision={precision!r}: is of sentence embeddings; token_embeddings are float32.")
        if device is not None:
            self.to(device)
        form = self.form(precision, truncate_dim, normalize_embeddings)
        to_torch = convert_to_tensor or not convert_to_numpy
        torch = import_torch() if to_torch else None

        rows, single = as_rows(sentences, self.instruction_of(prompt, prompt_name))
        if pool is not None and len(pool.models) > 1:
            found = pool.encode(
                rows,
                chunk_size,
                batch_size=batch_size,
                output_value=output_value,
                convert_to_numpy=convert_to_numpy,
                convert_to_tensor=convert_to_tensor,
                normalize_embeddings=normalize_embeddings,
                precision=precision,
                truncate_dim=truncate_dim,
                long_texts=long_texts,
                tokens_per_chunk=tokens_per_chunk,
                chunk_overlap=chunk_overlap,
            )
            return found[0] if single else found
        if show_progress_bar is None:
            show_progress_bar = logger.isEnabledFor(logging.INFO)
        spans = None
        if long_texts == "cut":
            found, losses = self._embed(rows, batch_size, output_value, torch, show_progress_bar, form)
        else:
            whole, spans, losses = embed(self, rows, cuts, batch_size, show_progress_bar)
            found = form(whole)
            found = torch.from_numpy(found).to(self.device) if torch else found
        _warn_of(losses)
        if output_value == "sentence_embedding":
            if spans is not None:
                found = as_chunks(found, spans)
            elif torch and not (single or convert_to_tensor):
                found = list(found)
        else:
            if torch:
                found = [
                    {name: torch.from_numpy(array).to(self.device) for name, array in row.items()} for row in found
                ]
            if output_value == "token_embeddings":
                found = [row["token_embeddings"] for row in found]
        return found[0] if single else found

    def _embed(
        self,
        rows: list[Row],
        batch_size: int,
        output_value: OutputValue = "sentence_embedding",
        torch: Any = None,
        show_progress_bar: bool = False,
        form: Form | None = None,
    ) -> tuple[Any, Losses]:
        """`encode()` of rows, for callers that tell of losses in their own words.

        Returns:
            [rows, embedding_dim] in `form`, an array or a tensor of the module `torch` on this device; or for each row
            a dict of `token_embeddings`, or of everything. And what these do not contain.
        """
        form = form or self.form()
        put: Callable[[Tokens, Int64, Int64], None]
        if output_value != "sentence_embedding":
            found: Any = [{} for _ in rows]
            put = functools.partial(self._put_details, found, output_value is None, form)
        elif torch is not None:
            found = torch.zeros((len(rows), form.columns), dtype=getattr(torch, form.dtype.name), device=self.device)
            put = functools.partial(self._put_tensors, found, torch, form)
        elif self._is_one_run(rows, batch_size) and not show_progress_bar:
            return self._embed_at_once(rows, form)
        else:
            found = np.zeros((len(rows), form.columns), dtype=form.dtype)
            put = functools.partial(self._put_vectors, found, form)
        first = truncated = 0
        masked: list[int] = []
        # tqdm costs 7 µs also where it is disabled, a tenth of what the smallest model takes for a short text
        bar = tqdm(total=len(rows), desc="Embedding", unit="text") if show_progress_bar else contextlib.nullcontext()
        with bar as progress:
            for tokens in self._chunks(rows):
                lengths = tokens.lengths
                truncated += tokens.truncated
                masked += (first + (tokens.starts >= lengths).nonzero()[0]).tolist()
                for batch in plan_batches(
                    lengths,
                    batch_size=batch_size,
                    token_budget=self._token_budget,
                    run_cost=self._engine.run_cost,
                ):
                    put(tokens, batch, first + batch)
                    if progress is not None:
                        progress.update(len(batch))
                first += len(tokens.starts)
        return found, Losses(len(rows), truncated, tuple(masked), self.max_seq_length)

    def _is_one_run(self, rows: list[Row], batch_size: int) -> bool:
        """Whether `plan_batches` would have nothing to plan, whatever the lengths."""
        if len(rows) <= 1:
            return len(rows) == 1
        most = len(rows) * self._max_seq_length
        return len(rows) <= batch_size and most <= self._token_budget and math.isinf(self._engine.run_cost)

    def _embed_at_once(self, rows: list[Row], form: Form) -> tuple[Any, Losses]:
        """`_embed` of vectors in one run, without what many rows need: a third of the time around the engine."""
        tokens = self._tokenizer(rows, self.max_seq_length)
        found = form(self._engine.sentence_embeddings(tokens, np.arange(len(rows))))
        # no numpy for a few numbers: a run leaves the caches without the code of any of its functions
        ends = tokens.offsets.tolist()
        masked = [i for i, start in enumerate(tokens.starts.tolist()) if start >= ends[i + 1] - ends[i]]
        return found, Losses(len(rows), tokens.truncated, tuple(masked), self.max_seq_length)

    def _chunks(self, rows: list[Row]) -> Iterator[Tokens]:
        """The rows tokenised, chunk by chunk, each in the background while the one before it runs."""
        chunks = self._tokenizer.chunks(rows, self.max_seq_length)
        if len(rows) <= ROWS_AT_ONCE:  # nothing to overlap
            yield from chunks
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize") as background:
            upcoming = background.submit(next, chunks, None)
            while (tokens := upcoming.result()) is not None:
                upcoming = background.submit(next, chunks, None)
                yield tokens

    # One run over `rows` of `tokens`, its results put where they belong in the caller's order.

    def _put_vectors(self, found: Any, form: Form, tokens: Tokens, rows: Int64, places: Int64) -> None:
        found[places] = form(self._engine.sentence_embeddings(tokens, rows))

    def _put_tensors(self, found: Any, torch: Any, form: Form, tokens: Tokens, rows: Int64, places: Int64) -> None:
        embedded = self._engine.sentence_tensors(tokens, rows, torch)
        if form.precision != "float32":
            embedded = torch.from_numpy(form(embedded.cpu().numpy())).to(self.device)
        elif form.unit:
            embedded = torch.nn.functional.normalize(embedded[:, : form.dim], dim=-1, eps=vectors.EPSILON)
        found[torch.from_numpy(places).to(self.device)] = embedded[:, : form.columns]

    def _put_details(
        self, details: list[Detail], everything: bool, form: Form, tokens: Tokens, rows: Int64, places: Int64
    ) -> None:
        token_embeddings, embedded = self._engine.token_embeddings(tokens, rows)
        for index, (row, place) in enumerate(zip(rows, places, strict=True)):
            detail = details[place]
            detail["token_embeddings"] = token_embeddings[index]
            if everything:
                input_ids, _, pooling_mask = tokens.padded(row[None])
                detail["input_ids"], detail["attention_mask"] = input_ids[0], pooling_mask[0]
                detail["sentence_embedding"] = form(embedded[index].copy())  # not a view of the whole run's

    # pickle and deepcopy open the bundle again: an engine's weights are mapped files and memory of its own.

    def __reduce__(self) -> Any:
        """Without the token: a pickle is a file that others may read. Who opens it is logged in, or has the folder."""
        return _opened_again, (type(self), self._opening | {"device": self.device, "token": None}, self._settings())

    def __deepcopy__(self, memo: Any) -> INSTRUCTOR:
        return _opened_again(type(self), self._opening | {"device": self.device}, copy.deepcopy(self._settings(), memo))

    def _settings(self) -> dict[str, Any]:
        names = ("_max_seq_length", "prompts", "default_prompt_name", "truncate_dim", "_similarity_fn_name")
        return {name: getattr(self, name) for name in names}


def _opened_again(kind: type[INSTRUCTOR], opening: dict[str, Any], settings: dict[str, Any]) -> INSTRUCTOR:
    model = kind(**opening)
    vars(model).update(settings)
    return model


@dataclass(frozen=True)
class Losses:
    """What vectors do not contain: the ends of long texts, and rows of which their instruction covers every token."""

    rows: int  # embedded in all
    truncated: int  # of them, cut to max_seq_length
    masked: tuple[int, ...]  # those with nothing left to pool: their vectors are all zeros
    max_seq_length: int


def _device_name(device: Any) -> str | None:
    """What a device is called: the name itself, or that of a torch.device (torch need not be there)."""
    return None if device is None else str(device)


def warn_of_cuts(losses: Losses) -> None:
    """Say how many texts were cut, where some were."""
    if losses.truncated:
        logger.warning(
            "%d of %d texts were cut to max_seq_length=%d tokens (instruction included); "
            "raise model.max_seq_length to keep more.",
            losses.truncated,
            losses.rows,
            losses.max_seq_length,
        )


def _warn_of(losses: Losses) -> None:
    warn_of_cuts(losses)
    if losses.masked:
        more = ", ..." if len(losses.masked) > ROWS_NAMED else ""
        logger.warning(
            "row %s: the instruction covers every token, nothing is left to pool and the vector is all zeros; "
            "end the instruction with a colon and a space.",
            ", ".join(map(str, losses.masked[:ROWS_NAMED])) + more,
        )


def _check_positive(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: found {value!r}, expected a whole number from 1 up.")
