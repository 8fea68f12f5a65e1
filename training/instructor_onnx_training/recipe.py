"""How instructor-mini was made, from the pair folders to the checkpoint: five stages as consecutive calls.

Each stage writes its result under `work` and is skipped when that is already there, so a killed run goes on where it
was; the two training stages also go on from within. The same data and seed give the same checkpoint on the same
machine and library versions (floating point sums differ between processors).
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from instructor_onnx_export.checkpoint.read import read_checkpoint

from instructor_onnx_training.instructions import MEANING, every_instruction, taught_instructions
from instructor_onnx_training.medi import read_medi, write_medi
from instructor_onnx_training.mining import bag_of_pieces
from instructor_onnx_training.model import load_checkpoint, save_checkpoint
from instructor_onnx_training.prepare import prepare
from instructor_onnx_training.start import Shape, start_student
from instructor_onnx_training.teacher import MINIS_TEACHER, Teacher, taught, teach
from instructor_onnx_training.texts import choose_texts
from instructor_onnx_training.tokens import tokenizer_of
from instructor_onnx_training.train import Taught, TrainOptions, train
from instructor_onnx_training.vocabulary import train_vocabulary

log = logging.getLogger(__name__)


DISTIL = TrainOptions(
    steps=1_000,
    teach_batch_size=128,
    teach_share=1.0,
    max_length=96,
    learning_rate=1e-3,
    final_rate=0.05,
    warmup=0.03,
)
INSTRUCT = TrainOptions(
    steps=1_100,
    batch_size=48,
    teach_batch_size=128,
    teach_share=0.4,
    max_length=96,
    learning_rate=5e-4,
    final_rate=0.02,
    warmup=0.05,
    temperature=0.05,
)


@dataclass(frozen=True)
class Recipe:
    """Every number of instructor-mini that is not in a table of its module."""

    seed: int = 17
    teacher: str = MINIS_TEACHER
    vocabulary_size: int = 14_000  # pieces: with `shape`, 10.5 MB in fp16
    shape: Shape = field(default_factory=Shape)
    taught_texts: int = 90_112  # 11 shards: half an hour of the teacher on one core
    scale: float = 1.0  # of the counts of texts and MEDI rows; tests make it small
    distil: TrainOptions = DISTIL
    instruct: TrainOptions = INSTRUCT
    distil_instructed: float = 0.3  # share of the taught batches that carry an instruction, in each stage
    instruct_instructed: float = 0.5


def make_mini(data: Path, work: Path, out: Path, recipe: Recipe | None = None, *, card: str | None = None) -> None:
    """Vocabulary and start, teacher's vectors, distillation, MEDI rows, instructed training; the result at `out`."""
    recipe = recipe or Recipe()
    distil, instruct = (replace(options, seed=recipe.seed) for options in (recipe.distil, recipe.instruct))
    texts = choose_texts(data, seed=recipe.seed, scale=recipe.scale)
    start, distilled, vectors, medi = (work / name for name in ("start", "distilled", "teacher", "medi.json"))
    if not start.exists():
        make_start(texts, start, recipe)
    teach(texts[: recipe.taught_texts], vectors, recipe.teacher)
    known, targets = taught(vectors)
    if not distilled.exists():
        log.info("distilling %d texts", len(known))
        lessons = Taught(known, targets, MEANING, recipe.distil_instructed)
        model = load_checkpoint(start)
        tokenizer = tokenizer_of(read_checkpoint(start))
        train(model, tokenizer, [], lessons, distil, state=work / "distilled.state")
        save_checkpoint(model, distilled, tokenizer_from=start)
    if not medi.exists():
        miner = bag_of_pieces(load_checkpoint(start), tokenizer_of(read_checkpoint(start)))
        write_medi(prepare(data, miner, seed=recipe.seed, scale=recipe.scale), medi)
    rows = read_medi(medi)
    log.info("training on %d MEDI rows", len(rows))
    lessons = Taught(known, targets, taught_instructions(), recipe.instruct_instructed)
    model = load_checkpoint(distilled)
    tokenizer = tokenizer_of(read_checkpoint(distilled))
    train(model, tokenizer, rows, lessons, instruct, state=work / "instructed.state")
    save_checkpoint(model, out, tokenizer_from=distilled, half=True, card=card)


def make_start(texts: list[str], out: Path, recipe: Recipe) -> None:
    """The vocabulary of the texts and of the instructions' words, and the untrained student on it, as a folder."""
    vocabulary = out.with_name("vocabulary")
    tokenizer = train_vocabulary(texts + every_instruction() * 20, vocabulary, size=recipe.vocabulary_size)
    student = start_student(tokenizer, Teacher.load(recipe.teacher), texts, recipe.shape, seed=recipe.seed)
    save_checkpoint(student, out, tokenizer_from=vocabulary)
