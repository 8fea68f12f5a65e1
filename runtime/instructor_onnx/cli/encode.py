"""`instructor-onnx encode`: a file of texts becomes a file of vectors."""

from __future__ import annotations

import argparse
from pathlib import Path

from instructor_onnx.cli import arguments, output
from instructor_onnx.files import stream
from instructor_onnx.files.description import describe
from instructor_onnx.files.records import Columns, input_format_of
from instructor_onnx.files.resume import State
from instructor_onnx.files.stream import CHUNK_BYTES, CHUNK_ROWS
from instructor_onnx.files.writers import output_format_of
from instructor_onnx.long_texts import Pooled
from instructor_onnx.vectors import PRECISIONS

HELP = """\
input, one row after the other (.gz is unpacked):
  .jsonl   an object {"text": ..., "instruction": ...}, a string, or [instruction, text] on each line
  .csv     the first line names the columns
  .txt     each line is a text, a blank line too
output:
  .npy      float32 [rows, dim], in the input's order; beside it, in OUTPUT.json, what the vectors were made with
  .jsonl    the input's columns and "embedding", a list of numbers; --header puts that in a first line
  .parquet  the same as a table, the embedding as a list of fixed size; needs 'instructor-onnx[parquet]'

instructions: a model of the INSTRUCTOR family wants one for each text, as "Represent the Science title: ".
--instruction gives one to all texts, --instruction-column NAME takes each row's own; without either, a column
"instruction" is used where there is one, else texts are embedded without (as GTR-T5 and Sentence-T5 want it).
End an instruction with a colon and a space.

A file is read through first, so that a bad row is reported at once, with its line. Memory does not grow with the
input. OUTPUT appears when it is complete; until then the work is kept in OUTPUT.partial. When a run was stopped, by
whatever, run the same command again: it continues, and the result is the same to the byte (of parquet: the same
table). Input from stdin has to be sent again whole; output to stdout cannot be continued.

examples:
  instructor-onnx encode my-bundle texts.jsonl -o vectors.npy
  instructor-onnx encode my-bundle papers.csv -o papers.parquet --text-column abstract \\
      --instruction "Represent the Science abstract: "
  zcat texts.txt.gz | instructor-onnx encode my-bundle - --input-format text -o - | head -1
"""


def add(commands: arguments.Commands) -> None:
    command = arguments.new_command(commands, "encode", "embed a file of texts", HELP, run)
    command.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, a Hugging Face id, or instructor-mini")
    command.add_argument("input", metavar="INPUT", help="a file, or - for stdin")
    command.add_argument("-o", "--output", metavar="OUTPUT", required=True, help="a file, or - for stdout (jsonl)")

    rows = command.add_argument_group("rows")
    rows.add_argument(
        "--input-format", choices=["jsonl", "csv", "text"], help="default: by INPUT's suffix; needed for stdin"
    )
    rows.add_argument("--output-format", choices=["npy", "jsonl", "parquet"], help="default: by OUTPUT's suffix")
    rows.add_argument(
        "--text-column", type=arguments.text, default="text", metavar="NAME", help="the column to embed (default: text)"
    )
    instruction = rows.add_mutually_exclusive_group()
    instruction.add_argument(
        "--instruction-column", type=arguments.text, metavar="NAME", help="the column with each row's instruction"
    )
    instruction.add_argument("--instruction", type=arguments.text, metavar="TEXT", help="one instruction for all texts")
    rows.add_argument(
        "--long-texts",
        choices=["cut", "mean"],
        default="cut",
        help="a text past --max-seq-length is cut to it, or its vector is the mean of its windows (default: cut)",
    )
    rows.add_argument(
        "--embedding-column",
        type=arguments.text,
        default="embedding",
        metavar="NAME",
        help="the new column of jsonl and parquet (default: embedding)",
    )

    files = command.add_argument_group("output")
    existing = files.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace OUTPUT, once the new one is complete")
    existing.add_argument(
        "--append",
        action="store_true",
        help="add to OUTPUT, if its vectors are of the same fingerprint, instruction, precision and dimension",
    )
    files.add_argument(
        "--header", action="store_true", help="jsonl: a first line says what the vectors were made with, for --append"
    )
    files.add_argument("--restart", action="store_true", help="forget what an interrupted run has done")
    files.add_argument(
        "--chunk-rows",
        type=arguments.positive,
        default=CHUNK_ROWS,
        metavar="N",
        help="rows between two save points and two moves of the progress bar; of long ones fewer, about "
        f"{CHUNK_BYTES >> 20} MB (default: {CHUNK_ROWS})",
    )
    files.add_argument("--quiet", action="store_true", help="no progress on stderr")

    model = arguments.add_model(command)
    model.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of the vectors' numbers: int8 a byte each, binary a bit (default: float32)",
    )
    model.add_argument("--dim", type=arguments.positive, metavar="N", help="numbers kept of each vector (default: all)")
    model.add_argument(
        "--batch-size", type=arguments.positive, default=32, metavar="N", help="texts of one run (default: 32)"
    )
    arguments.add_hub(command, "BUNDLE")


def run(args: argparse.Namespace) -> None:
    job = _job(args)
    total = stream.prepare(job)
    model = arguments.open_model(args)
    form = model.form(args.precision, args.dim)
    description = {**describe(model, form, job.columns), "long_texts": args.long_texts}
    encoder = model if args.long_texts == "cut" else Pooled(model)
    done = stream.run(encoder, job, form=form, description=description, total=total, show_progress=not args.quiet)
    if not args.quiet:
        now = done.rows - done.resumed_rows
        before = f", {done.resumed_rows:,} of them by an earlier run" if done.resumed_rows else ""
        output.to_stderr(
            f"{args.output}: {done.rows:,} texts{before}, {form.dim} numbers each, "
            f"{now / max(done.seconds, 1e-9):,.1f} texts/s"
        )


def resume_hint(args: argparse.Namespace, *, same: bool) -> str:
    """What becomes of the work done so far; `same`: the same command may continue it."""
    try:
        state = State.read(_job(args).folder)
    except (OSError, ValueError):
        return ""
    if state is None:
        return ""
    return f"{state.rows:,} rows are done and kept" + (": run the same command again to continue." if same else ".")


def _job(args: argparse.Namespace) -> stream.Job:
    source = None if args.input == "-" else Path(args.input)
    target = stream.output_path(args.output)
    return stream.Job(
        source=source,
        target=target,
        input_format=args.input_format or input_format_of(source),
        output_format=args.output_format or output_format_of(target),
        columns=Columns(args.text_column, args.instruction_column, args.instruction),
        embedding_column=args.embedding_column,
        chunk_rows=args.chunk_rows,
        batch_size=args.batch_size,
        overwrite=args.overwrite,
        append=args.append,
        header=args.header,
        restart=args.restart,
    )
