"""The verbs of `python -m instructor_onnx_training`."""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from instructor_onnx import hub
from instructor_onnx.bundle import InstructorOnnxError
from instructor_onnx_export.checkpoint.read import read_checkpoint

from instructor_onnx_training.card import training_card
from instructor_onnx_training.files import alone
from instructor_onnx_training.instructions import taught_instructions
from instructor_onnx_training.medi import read_medi, write_medi
from instructor_onnx_training.mining import bag_of_pieces
from instructor_onnx_training.model import LAYOUT, load_checkpoint, save_checkpoint
from instructor_onnx_training.prepare import prepare
from instructor_onnx_training.recipe import Recipe, make_mini
from instructor_onnx_training.teacher import MINIS_TEACHER, taught, teach
from instructor_onnx_training.texts import choose_texts
from instructor_onnx_training.tokens import tokenizer_of
from instructor_onnx_training.train import Taught, TrainOptions, train

_ABOUT = """\
Train text embedders of the INSTRUCTOR family (T5 encoder, masked mean, Dense).

fine-tune a checkpoint of your own, with the published loss and rates:
    python -m instructor_onnx_training train --start hkunlp/instructor-base --medi rows.json --out ./mine
make the embedded checkpoint again, from the pair folders (about 1.5 hours on one core):
    python -m instructor_onnx_training mini --data DATA --work WORK --out checkpoints/instructor-mini
"""
_MEDI = """\
rows.json is a JSON list in MEDI format, one object an example:
    {"query": [instruction, text], "pos": [instruction, text], "neg": [instruction, text], "task_id": 3}
A batch holds one task_id only. Instructions end in ": " so that the pooled text starts on a token of its own.

The run keeps OUT.state; the same command after a kill continues from it, to the same weights.
"""


log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; a mistake in the arguments or the data is one line on stderr and exit code 1, Ctrl-C is 130."""
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    try:
        with alone(parsed.out):
            parsed.verb(parsed)
    except (ValueError, OSError, ImportError, FloatingPointError, InstructorOnnxError) as error:
        log.error("error: %s", " ".join(str(error).split()))
        return 1
    except KeyboardInterrupt:
        log.error("stopped: %s", parsed.stopped(parsed))
        return 130
    return 0


def _train(parsed: argparse.Namespace) -> None:
    if parsed.medi is None and parsed.taught is None:
        raise ValueError("nothing to train on: name --medi FILE, --taught FOLDER, or both with --teach-share")
    _check_free(parsed.out, parsed.overwrite)
    options = TrainOptions(**{field.name: getattr(parsed, field.name) for field in fields(TrainOptions)})
    device = _device(parsed.device)
    checkpoint = read_checkpoint(parsed.start)  # fetched, if it is an id, and checked as for an export
    start = checkpoint.folder
    model = load_checkpoint(start).to(device)
    options = replace(options, max_length=min(options.max_length, model.max_length))
    rows = read_medi(parsed.medi) if parsed.medi else []
    lessons = Taught(*taught(parsed.taught), taught_instructions()) if parsed.taught else Taught()
    state = _state(parsed)
    train(model, tokenizer_of(checkpoint), rows, lessons, options, state=state, save_every=parsed.save_every)
    card = training_card(
        parsed.out.name,
        checkpoint.name,
        rows,
        lessons,
        options,
        start_is_on_hub=hub.local_folder(parsed.start) is None,
        half=parsed.fp16,
    )
    save_checkpoint(model, parsed.out, tokenizer_from=start, half=parsed.fp16, card=card)
    state.unlink(missing_ok=True)


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{out} exists: name another --out, or allow --overwrite (at the end, in one step)")
    if not (out / LAYOUT.modules).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not a checkpoint, so nothing replaces it: name another --out")


def _state(parsed: argparse.Namespace) -> Path:
    out: Path = parsed.out
    return out.with_name(out.name + ".state")


def _stopped_training(parsed: argparse.Namespace) -> str:
    state = _state(parsed)
    if state.exists():
        return f"the same command continues from {state}"
    return f"nothing was saved yet (--save-every {parsed.save_every}); the same command starts anew"


def _device(name: str) -> torch.device:
    """The device, after it held a number."""
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a PyTorch that was built without CUDA
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"found --device {name}, expected cpu, or cuda where PyTorch {torch.__version__} has a GPU: {reason}"
        ) from None


def _prepare(parsed: argparse.Namespace) -> None:
    miner = bag_of_pieces(load_checkpoint(parsed.miner), tokenizer_of(read_checkpoint(parsed.miner)))
    write_medi(prepare(parsed.data, miner, seed=parsed.seed, scale=parsed.scale), parsed.out)


def _teach(parsed: argparse.Namespace) -> None:
    teach(choose_texts(parsed.data, seed=parsed.seed)[: parsed.texts], parsed.out, parsed.teacher)


def _mini(parsed: argparse.Namespace) -> None:
    card = parsed.out / LAYOUT.card
    recipe = Recipe(seed=parsed.seed, teacher=parsed.teacher)
    with alone(parsed.work):
        make_mini(
            parsed.data, parsed.work, parsed.out, recipe, card=card.read_text("utf-8") if card.is_file() else None
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m instructor_onnx_training", description=_ABOUT, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = _verb(verbs, "train", "train or fine-tune a checkpoint", _MEDI, _train, _stopped_training)
    verb.add_argument("--start", required=True, help="checkpoint to train from: a folder, or a Hugging Face id")
    verb.add_argument("--out", type=Path, required=True, help="folder to write, in the sentence-transformers layout")
    verb.add_argument("--medi", type=Path, help="MEDI rows (JSON)")
    verb.add_argument("--taught", type=Path, help="texts with a teacher's vectors, from `teach`")
    verb.add_argument("--fp16", action="store_true", help="store half precision (loads to the same vectors in fp32)")
    verb.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    verb.add_argument("--save-every", type=int, default=200, metavar="N", help="steps between saves of the state")
    verb.add_argument("--overwrite", action="store_true", help="replace --out where it exists")
    for field in fields(TrainOptions):
        kind = type(field.default)
        verb.add_argument(
            "--" + field.name.replace("_", "-"), type=kind, default=field.default, metavar=kind.__name__.upper(),
            help=f"{field.metadata['help']} (default {field.default})",
        )  # fmt: skip

    verb = _verb(verbs, "prepare", "pair folders → MEDI rows with instructions and mined negatives", "", _prepare)
    _data(verb)
    verb.add_argument("--out", type=Path, required=True, help="MEDI file to write")
    verb.add_argument("--miner", type=Path, required=True, help="checkpoint whose piece vectors find hard negatives")
    verb.add_argument("--scale", type=float, default=1.0, help="factor on the rows of each task (default 1)")

    verb = _verb(verbs, "teach", "ask a teacher for the vectors of sampled texts", "", _teach)
    _data(verb)
    verb.add_argument("--out", type=Path, required=True, help="folder to write; shards already there are kept")
    _teacher(verb)
    verb.add_argument("--texts", type=int, help="at most so many (default: all of the sample)")

    verb = _verb(verbs, "mini", "make instructor-mini: every stage, each resumable", "", _mini)
    _data(verb)
    _teacher(verb)
    verb.add_argument("--work", type=Path, required=True, help="folder for what lies between the stages")
    verb.add_argument("--out", type=Path, required=True, help="checkpoint folder; a README.md there is kept")
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    epilog: str,
    run: Callable[[argparse.Namespace], None],
    stopped: Callable[[argparse.Namespace], str] = lambda _: "the same command does again what is not done",
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name, help=summary, description=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: torch's own choice)")
    parser.set_defaults(verb=run, stopped=stopped)
    return parser


def _data(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--data", type=Path, required=True, help="folder of <source>/pairs.jsonl.gz")
    verb.add_argument("--seed", type=int, default=Recipe.seed, help=f"default {Recipe.seed}, instructor-mini's")


def _teacher(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--teacher", default=MINIS_TEACHER, metavar="MODEL",
        help=f"sentence-transformers model, a folder or a Hugging Face id (default {MINIS_TEACHER}, instructor-mini's)",
    )  # fmt: skip
