"""The training run: batches in planned order → losses → steps, resumable at any of them.

Two kinds of batch. A MEDI batch holds rows of one task and is judged by the contrastive loss; a taught batch holds
plain texts with a teacher's vectors and is judged by distillation. Either kind may be absent.
"""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from instructor_onnx.tokens import Tokenizer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from instructor_onnx_training.losses import contrastive_loss, distillation_loss
from instructor_onnx_training.medi import MediRow
from instructor_onnx_training.model import Embedder
from instructor_onnx_training.plan import PlannedBatch, hold_out, medi_epoch, plan_run
from instructor_onnx_training.state import fingerprint, load_state, save_state
from instructor_onnx_training.tokens import Row, make_batch

log = logging.getLogger(__name__)
_REPORT = 50  # steps between lines of the log


@dataclass(frozen=True)
class TrainOptions:
    """What decides the result of a run, given the start checkpoint and the data. `help` is the command line's too."""

    steps: int = field(default=1_000, metadata={"help": "optimiser steps"})
    batch_size: int = field(default=32, metadata={"help": "MEDI rows a step, three texts each"})
    teach_batch_size: int = field(default=128, metadata={"help": "taught texts a step"})
    teach_share: float = field(
        default=0.0,
        metadata={"help": "share of the steps that distil: 0 is the published recipe, 1 distillation alone"},
    )
    max_length: int = field(default=512, metadata={"help": "tokens of a text, instruction and </s> included"})
    learning_rate: float = field(
        default=2e-5, metadata={"help": "peak rate, as published; a small student that starts from nothing wants 1e-3"}
    )
    final_rate: float = field(default=0.0, metadata={"help": "share of the peak that the linear decay ends at"})
    warmup: float = field(default=0.1, metadata={"help": "share of the steps in which the rate rises, as published"})
    weight_decay: float = field(default=0.0, metadata={"help": "AdamW's"})
    temperature: float = field(
        default=0.01, metadata={"help": "divides the cosines: 0.01 in the authors' runs, 0.1 in their README"}
    )
    similarity_weight: float = field(
        default=10.0, metadata={"help": "of the in-batch similarities in the distillation loss"}
    )
    clip: float = field(default=1.0, metadata={"help": "largest gradient norm"})
    seed: int = field(default=0, metadata={"help": "of the order, the drawn instructions and dropout"})
    held_out: float = field(
        default=0.0, metadata={"help": "share of the MEDI rows that is not trained on but scored, in the log"}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be a share from 0 to below 1, got {self.held_out}")
        if self.max_length < 1:
            raise ValueError(f"max_length must be at least 1 token, got {self.max_length}")


@dataclass(frozen=True)
class Taught:
    """Plain texts, the teacher's vectors of them (float16 [n, dim]), and the instructions to put before them.

    Each time a text comes up it gets no instruction or, with probability `instructed`, one of `instructions`: those
    are the ones under which a text means what it means to the teacher.
    """

    texts: Sequence[str] = ()
    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float16))
    instructions: Sequence[str] = ()
    instructed: float = 0.5


def train(
    model: Embedder,
    tokenizer: Tokenizer,
    rows: Sequence[MediRow],
    taught: Taught,
    options: TrainOptions,
    *,
    state: Path | None = None,
    save_every: int = 200,
    progress: bool = True,
) -> list[float]:
    """Train `model` in place and return the loss of every step of this call.

    With `state`, a file there is continued from (to the same weights as a run that was never cut) and rewritten
    every `save_every` steps; the caller removes it when the result is safe.
    """
    if len(taught.texts) and taught.vectors.shape[1] != model.dense.out_features:
        raise ValueError(
            f"the teacher's vectors have {taught.vectors.shape[1]} numbers, the model's {model.dense.out_features}: "
            "name a teacher and a checkpoint of one size"
        )
    kept, held = hold_out(len(rows), options.held_out, seed=options.seed)
    rows, unseen = [rows[i] for i in kept], [rows[i] for i in held]
    plan = plan_run(
        [row.task_id for row in rows],
        [len(text) for text in taught.texts],
        steps=options.steps,
        batch_size=options.batch_size,
        teach_batch_size=options.teach_batch_size,
        teach_share=options.teach_share,
        seed=options.seed,
    )
    torch.manual_seed(options.seed)  # dropout, where the checkpoint has it
    optimizer = _optimizer(model, options)
    marks = fingerprint(asdict(options) | {"instructed": taught.instructed}, rows, taught.texts, taught.instructions)
    first = load_state(state, model, optimizer, marks) if state is not None and state.exists() else 0
    if unseen:
        log.info("step %d of %d: %s", first, options.steps, _score(model, tokenizer, unseen, options))
    model.train()
    losses: list[float] = []
    started, texts_seen = time.monotonic(), 0
    bar = tqdm(total=options.steps, initial=first, unit="step", disable=None if progress else True, desc="train")
    with bar, logging_redirect_tqdm():  # lines of the log above the bar, not in it
        for step in range(first, options.steps):
            rate = options.learning_rate * schedule(step, options)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = plan[step]
            if batch.kind == "medi":
                loss, _ = _medi_loss(model, tokenizer, [rows[i] for i in batch.rows], options)
            else:
                loss = _taught_loss(model, tokenizer, taught, batch, options, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is {losses[-1]} at step {step}: try a lower learning rate")
            texts_seen += len(batch.rows) * (3 if batch.kind == "medi" else 1)
            bar.update()
            done = step + 1
            if done % _REPORT == 0 or done == options.steps:
                speed = texts_seen / (time.monotonic() - started)
                recent = _recent(losses, [batch.kind for batch in plan[first:done]])
                bar.set_postfix_str(recent)
                if unseen:
                    recent += ", " + _score(model, tokenizer, unseen, options)
                log.info("step %d of %d: %s, rate %.1e, %.0f texts/s", done, options.steps, recent, rate, speed)
            if state is not None and done % save_every == 0 and done < options.steps:
                save_state(state, model, optimizer, marks, step=done)
    model.eval()
    return losses


def schedule(step: int, options: TrainOptions) -> float:
    """Share of the peak rate at `step`: linear warm-up, then linear decay to `final_rate`."""
    warm = max(round(options.steps * options.warmup), 1)
    if step < warm:
        return (step + 1) / warm
    left = (options.steps - step) / max(options.steps - warm, 1)
    return options.final_rate + (1 - options.final_rate) * left


def _recent(losses: Sequence[float], kinds: Sequence[str]) -> str:
    """The mean loss of each kind over the last `_REPORT` steps: the two have nothing to do with each other."""
    last = list(zip(kinds, losses, strict=True))[-_REPORT:]
    means = {
        kind: np.mean([loss for other, loss in last if other == kind]) for kind in sorted({kind for kind, _ in last})
    }
    return ", ".join(f"{kind} loss {mean:.4f}" for kind, mean in means.items())


@torch.inference_mode()
def _score(model: Embedder, tokenizer: Tokenizer, rows: Sequence[MediRow], options: TrainOptions) -> str:
    """Loss and accuracy of rows in batches as in training."""
    was_training = model.training
    model.eval()
    batches = medi_epoch([row.task_id for row in rows], batch_size=options.batch_size, seed=options.seed, epoch=0)
    scores = [_medi_loss(model, tokenizer, [rows[i] for i in batch], options) for batch in batches]
    model.train(was_training)
    loss = np.average([loss.item() for loss, _ in scores], weights=[len(batch) for batch in batches])
    right = torch.cat([nearer for _, nearer in scores])
    return f"held-out loss {loss:.4f}, accuracy {right.float().mean():.3f}"


def _optimizer(model: Embedder, options: TrainOptions) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )


def _medi_loss(
    model: Embedder, tokenizer: Tokenizer, rows: Sequence[MediRow], options: TrainOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss, and of each row whether its query is nearer to the right text than to the wrong one: bool [rows]."""
    query = _embed(model, tokenizer, [row.query for row in rows], options)
    positive = _embed(model, tokenizer, [row.pos for row in rows], options)
    negative = _embed(model, tokenizer, [row.neg for row in rows], options)
    keys = np.array([row.key for row in rows])
    neg_keys = np.array([row.neg_key for row in rows])
    loss = contrastive_loss(
        query,
        positive,
        negative,
        temperature=options.temperature,
        negative_is_false=torch.from_numpy(keys[:, None] == neg_keys[None, :]).to(query.device),
        query_is_false=torch.from_numpy(keys[:, None] == keys[None, :]).to(query.device),
    )
    return loss, (query * positive).sum(1) > (query * negative).sum(1)


def _taught_loss(
    model: Embedder, tokenizer: Tokenizer, taught: Taught, batch: PlannedBatch, options: TrainOptions, step: int
) -> torch.Tensor:
    rng = random.Random(options.seed * 1_000_003 + step)  # of the step alone, so that a resumed run draws the same
    instructed = bool(taught.instructions) and rng.random() < taught.instructed  # whole batches: less padding
    texts: list[Row] = [(rng.choice(taught.instructions) if instructed else "", taught.texts[i]) for i in batch.rows]
    vectors = torch.from_numpy(taught.vectors[list(batch.rows)].astype(np.float32)).to(model.device)
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    found = _embed(model, tokenizer, texts, options)
    return distillation_loss(found, vectors, similarity_weight=options.similarity_weight)


def _embed(model: Embedder, tokenizer: Tokenizer, rows: Sequence[Row], options: TrainOptions) -> torch.Tensor:
    batch = make_batch(tokenizer, rows, max_length=options.max_length)
    vectors: torch.Tensor = model(batch.to(model.device))
    return vectors
