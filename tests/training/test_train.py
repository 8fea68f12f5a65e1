"""The run: it learns, it resumes to the same weights, it refuses a state of another run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_training.medi import MediRow
from instructor_onnx_training.model import load_checkpoint
from instructor_onnx_training.plan import hold_out
from instructor_onnx_training.state import save_state
from instructor_onnx_training.tokens import make_batch
from instructor_onnx_training.train import Taught, TrainOptions, schedule, train

OPTIONS = TrainOptions(steps=12, batch_size=4, teach_batch_size=4, teach_share=0.5, learning_rate=3e-3, seed=5)
ASKED, TOLD = "represent the question for retrieving documents: ", "represent the documents: "
THINGS = (["fever", "cough", "river", "bank", "theory"], ["sets", "apple", "query", "on", "in"])  # of two tasks
ROWS = [
    MediRow((ASKED, f"what is {word}?"), (TOLD, f"{word} is a cat"), (TOLD, f"dog on {word}"), task)
    for task, words in enumerate(THINGS)
    for word in words
]
TAUGHT = Taught(
    [f"the {word}" for word in ("cat", "dog", "river", "bank", "apple", "fever")],
    np.random.default_rng(0).normal(size=(6, 12)).astype(np.float16),
    ("represent the sentence: ",),
)


def weights(
    checkpoint: Path, tokenizer: Tokenizer, options: TrainOptions, state: Path | None = None
) -> dict[str, torch.Tensor]:
    model = load_checkpoint(checkpoint)
    train(model, tokenizer, ROWS, TAUGHT, options, state=state, save_every=1, progress=False)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_run_learns(checkpoint: Path, tokenizer: Tokenizer) -> None:
    options = replace(OPTIONS, steps=120, teach_share=0.0, temperature=0.1)
    losses = train(load_checkpoint(checkpoint), tokenizer, ROWS, Taught(), options, progress=False)
    assert np.mean(losses[-30:]) < np.mean(losses[:10]) / 2


@pytest.mark.parametrize("killed_after", [1, 7])
def test_a_killed_run_resumes_to_the_same_weights(
    checkpoint: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    whole = weights(checkpoint, tokenizer, OPTIONS)
    state = tmp_path / "run.state"

    def save_then_die(path: Path, *rest: object, step: int) -> None:
        save_state(path, *rest, step=step)  # type: ignore[arg-type]
        if step == killed_after:
            raise KeyboardInterrupt

    monkeypatch.setattr("instructor_onnx_training.train.save_state", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        weights(checkpoint, tokenizer, OPTIONS, state)
    monkeypatch.undo()
    torch.manual_seed(99)  # a new process starts with another random state
    resumed = weights(checkpoint, tokenizer, OPTIONS, state)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)  # dropout 0.1 included


def test_held_out_rows_are_scored_and_never_trained_on(
    checkpoint: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    options = replace(OPTIONS, steps=60, teach_share=0.0, held_out=0.3)
    kept, held = hold_out(len(ROWS), 0.3, seed=options.seed)
    assert (len(held), sorted(kept + held)) == (3, list(range(10)))
    with caplog.at_level("INFO"):
        model = load_checkpoint(checkpoint)
        train(model, tokenizer, ROWS, Taught(), options, progress=False)
    lines = [line for line in caplog.messages if "held-out loss" in line]
    assert [line.partition(":")[0] for line in lines] == ["step 0 of 60", "step 50 of 60", "step 60 of 60"]
    with torch.inference_mode():
        query, pos, neg = (
            model(make_batch(tokenizer, [getattr(ROWS[i], side) for i in held], max_length=32))
            for side in ("query", "pos", "neg")
        )
    nearer = (query * pos).sum(1) > (query * neg).sum(1)
    assert f", accuracy {nearer.float().mean():.3f}, " in lines[-1]
    alone = load_checkpoint(checkpoint)
    train(alone, tokenizer, [ROWS[i] for i in kept], Taught(), replace(options, held_out=0.0), progress=False)
    for trained, other in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(trained, other)  # scoring changes nothing, dropout's numbers included


def test_a_share_that_cannot_be_held_out_is_refused(checkpoint: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="held_out must be a share from 0 to below 1, got 1.0"):
        replace(OPTIONS, held_out=1.0)
    with pytest.raises(ValueError, match="held_out: 0.01 of 10 MEDI rows is 0"):
        train(load_checkpoint(checkpoint), tokenizer, ROWS, TAUGHT, replace(OPTIONS, held_out=0.01), progress=False)


def test_a_state_of_another_run_is_refused_by_name(checkpoint: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    state = tmp_path / "run.state"
    weights(checkpoint, tokenizer, OPTIONS, state)
    with pytest.raises(ValueError, match="other learning_rate, temperature: give the same again"):
        weights(checkpoint, tokenizer, replace(OPTIONS, learning_rate=1.0, temperature=0.2), state)
    with pytest.raises(ValueError, match="other MEDI rows"):
        train(load_checkpoint(checkpoint), tokenizer, ROWS[1:], TAUGHT, OPTIONS, state=state, progress=False)


def test_the_rate_warms_up_and_decays() -> None:
    options = TrainOptions(steps=100, warmup=0.1, final_rate=0.2)
    rates = [schedule(step, options) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(rates) == pytest.approx(1)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] == pytest.approx(0.2, abs=0.01)


def test_a_teacher_of_another_size_is_refused(checkpoint: Path, tokenizer: Tokenizer) -> None:
    wide = replace(TAUGHT, vectors=np.ones((6, 13), np.float16))
    with pytest.raises(ValueError, match="the teacher's vectors have 13 numbers, the model's 12"):
        train(load_checkpoint(checkpoint), tokenizer, ROWS, wide, OPTIONS, progress=False)


def test_a_loss_that_is_not_finite_stops_the_run(checkpoint: Path, tokenizer: Tokenizer) -> None:
    model = load_checkpoint(checkpoint)
    model.dense.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="at step 0: try a lower learning rate"):
        train(model, tokenizer, ROWS, Taught(), replace(OPTIONS, teach_share=0.0), progress=False)
