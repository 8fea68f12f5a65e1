"""`instructor-onnx instructions`: those that are ready-made, and which of them fits one's own texts."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from instructor_onnx.cli import arguments, output
from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL, Pair
from instructor_onnx.ranking import candidates, plot, report, samples
from instructor_onnx.ranking.candidates import Candidate
from instructor_onnx.ranking.rank import Ranking, rank

LIST = """\
Those of instructor_onnx.instructions: RETRIEVAL has one for queries and one for documents, SAME_FOR_ALL one for every
text.

examples:
  instructor-onnx instructions list
"""

RANK = """\
SAMPLE is a file of JSON lines (.gz is unpacked), an object on each; its fields tell the kind of task:
  query, document            retrieval: the document, or list of them, that answers the query, to be found among all
                             documents of the file; a line without query adds a document that answers none.
                             Scores: nDCG@10, recall@10.
  sentence1, sentence2, score    pairs: the more alike, the higher the score; 0 and 1 will do.
                             Score: Spearman's correlation with the cosine.
  text, label                clustering, classification: texts with a label (string or whole number) each.
                             Scores: mAP, how far to the front the others of its label come when a text has all others
                             ranked; nearest, how often the nearest other has its label.

Candidates are no instruction, the ready-made ones (`instructor-onnx instructions list`), the bundle's own prompts,
yours and, with --mteb, those of the published scores. Each text is embedded once under each instruction. Each score,
and each difference to no instruction and to the best, comes with the interval that 95 % of 2,000 bootstrap resamples of
your queries, pairs or texts span: a difference whose interval has 0 in it may be chance. 200 examples tell large
differences only.

examples:
  instructor-onnx instructions rank my-bundle labelled.jsonl
  instructor-onnx instructions rank my-bundle labelled.jsonl --plot ranking.png \\
      --instruction "Represent the banking question for classifying its intent: "
  instructor-onnx instructions rank my-bundle search.jsonl --mteb instructor-large \\
      --pair "Represent the legal question for retrieving statutes: " "Represent the statute for retrieval: "
"""


def add(commands: arguments.Commands) -> None:
    summary = "which instructions there are, and which fits one's own texts"
    group = commands.add_parser("instructions", help=summary, description=summary[0].upper() + summary[1:] + ".")
    inner = group.add_subparsers(metavar="COMMAND", required=True)
    arguments.new_command(inner, "list", "print the ready-made instructions", LIST, run_list)
    _add_rank(inner)


def _add_rank(commands: arguments.Commands) -> None:
    summary = "score instructions on a labelled sample of one's own"
    command = arguments.new_command(commands, "rank", summary, RANK, run_rank)
    command.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, a Hugging Face id, or instructor-mini")
    command.add_argument("sample", metavar="SAMPLE", type=Path, help="labelled texts, as JSON lines")
    compared = command.add_argument_group("candidates")
    compared.add_argument(
        "--instruction",
        type=arguments.text,
        action="append",
        default=[],
        metavar="TEXT",
        help="one of your own, for every text; may be repeated. End it with a colon and a space",
    )
    compared.add_argument(
        "--pair",
        type=arguments.text,
        action="append",
        default=[],
        nargs=2,
        metavar=("QUERY", "DOCUMENT"),
        help="one of your own for queries and one for documents; may be repeated",
    )
    compared.add_argument("--mteb", metavar="MODEL", help="those published for instructor-base, -large or -xl, too")
    compared.add_argument("--only-own", action="store_true", help="leave the ready-made and the bundle's out")
    result = command.add_argument_group("result")
    result.add_argument("--by", metavar="SCORE", help="the score that ranks (default: the first of its kind)")
    result.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="of the resamples (default: 0)")
    result.add_argument(
        "--plot", type=Path, metavar="PATH", help="a picture, .png or .svg; needs 'instructor-onnx[plot]'"
    )
    result.add_argument("--json", action="store_true", help="everything as one JSON object")
    result.add_argument("--quiet", action="store_true", help="no progress on stderr")
    arguments.add_model(command)
    arguments.add_hub(command, "BUNDLE")


def run_list(args: argparse.Namespace) -> None:
    lines = ["RETRIEVAL"]
    for name, pair in RETRIEVAL.items():
        lines += [f"  {name}", f"    query     {_quoted(pair.query)}", f"    document  {_quoted(pair.document)}"]
    lines += ["", "SAME_FOR_ALL"]
    for name, instruction in SAME_FOR_ALL.items():
        lines += [f"  {name}", f"    {_quoted(instruction)}"]
    output.to_stdout("\n".join(lines))


def _quoted(instruction: str) -> str:
    """With its last space to be seen."""
    return f'"{instruction}"'


def run_rank(args: argparse.Namespace) -> None:
    if args.plot is not None:
        plot.check(args.plot)
    sample = samples.read(args.sample)
    if args.pair and sample.kind != "retrieval":
        raise ValueError(f"--pair: {args.sample} has {sample.kind}, with one instruction for all. Use --instruction.")
    own = _own(args)
    ready_made = [] if args.only_own else candidates.ready_made(sample.kind)
    published = candidates.published(args.mteb, sample.kind) if args.mteb else []
    if not [*ready_made, *own, *published]:
        raise ValueError("--only-own: there is none. Name one with --instruction or --pair.")
    model = arguments.open_model(args)
    of_bundle = [] if args.only_own else candidates.of_bundle(model.prompts, sample.kind)
    found = rank(
        model,
        sample,
        [*ready_made, *of_bundle, *own, *published],
        by=args.by,
        seed=args.seed,
        show_progress=not args.quiet and sys.stderr.isatty(),
    )
    output.to_stdout(_json(found) if args.json else report.text(found))
    if args.plot is not None:
        plot.plot(found, args.plot)


def _own(args: argparse.Namespace) -> list[Candidate]:
    pairs = [*(Pair(text, text) for text in args.instruction), *(Pair(*texts) for texts in args.pair)]
    return [Candidate(f"own {number}", pair) for number, pair in enumerate(pairs, 1)]


def _json(found: Ranking) -> str:
    facts = dataclasses.asdict(found)
    facts["candidates"] = [
        each | {"pair": candidate.pair._asdict()}
        for each, candidate in zip(facts["candidates"], found.candidates, strict=True)
    ]
    return json.dumps(facts, indent=2, ensure_ascii=False)
