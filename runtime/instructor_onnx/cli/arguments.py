"""The arguments of `instructor-onnx` and their help. Knows nothing of what the commands do."""

from __future__ import annotations

import argparse
from pathlib import Path

from instructor_onnx import __version__
from instructor_onnx.engines.cpus import MOST_THREADS
from instructor_onnx.engines.engine import ENGINES
from instructor_onnx.files.stream import CHUNK_BYTES, CHUNK_ROWS
from instructor_onnx.inputs import is_unicode
from instructor_onnx.server.options import Options

MOST = 10**12  # of any other number: what follows it in numpy and the standard library stays far from an overflow

OVERVIEW = """\
examples:
  instructor-onnx export hkunlp/instructor-base my-bundle          once, where PyTorch is
  instructor-onnx encode my-bundle texts.jsonl -o vectors.npy      anywhere

`instructor-onnx COMMAND --help` explains a command. Exit codes: 0 done, 1 failed (one line on stderr says why and
what to do), 2 bad usage, 130 interrupted.
"""

EXPORT = """\
Reads a checkpoint of the INSTRUCTOR family (also GTR-T5 and Sentence-T5), writes OUT beside itself, opens it
through the runtime, on every engine that this machine has, compares its vectors with PyTorch's, and only then gives
it its name: an export that fails or is interrupted leaves nothing. A variant that fails on every engine is left out,
with a warning and exit code 1; the others are written.
Needs pip install 'instructor-onnx[export]'; using the bundle does not.

variants:
  fp32   as exact as the checkpoint: left out where a number is more than 1e-5 off
  int8   about a quarter of the size, and faster on CPUs; left out below --min-cosine
  int4   about a sixth of the size, at int8's speed on the native kernels; likewise
  fp16   for NVIDIA GPUs: half of the size; residuals, norms, softmax and pooling stay fp32, and no text can overflow it
  bf16   for NVIDIA GPUs: likewise, three bits coarser; for a checkpoint whose range fp16 cannot hold
fp16 and bf16 are verified where there is a GPU. Elsewhere they are written unverified: the manifest, `info` and the
runtime say so, and `instructor-onnx check OUT --against CHECKPOINT --record` verifies them later.

examples:
  instructor-onnx export hkunlp/instructor-large my-bundle
  instructor-onnx export ./my-checkpoint my-bundle --variants int8 --min-cosine 0.995
"""

ENCODE = """\
input, one row after the other (.gz is unpacked):
  .jsonl   an object {"text": ..., "instruction": ...}, a string, or [instruction, text] on each line
  .csv     the first line names the columns
  .txt     each line is a text, a blank line too
output:
  .npy      float32 [rows, dim], in the input's order
  .jsonl    the input's columns and "embedding", a list of numbers
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

CHECK = """\
Checks the size and sha256 of every file, and that the tokenizer and every variant open and embed a text.
--against also compares the vectors with those of the checkpoint in PyTorch, as the export did; this needs
pip install 'instructor-onnx[export]'. Exit code 1 where something is wrong, or this machine can open no variant.

examples:
  instructor-onnx check my-bundle
  instructor-onnx check my-bundle --against hkunlp/instructor-large
  instructor-onnx check my-bundle --against ./my-checkpoint --record      fp16, exported where there was no GPU
"""

SERVE = """\
Needs pip install 'instructor-onnx[serve]'. Inputs of all requests wait in one queue and run together, batched by
tokens. GET /health answers 200 once the model is loaded and warmed up, 503 before. SIGTERM or Ctrl-C: no new
requests, those that run are finished, exit code 0.

routes:
  POST /v1/embeddings  GET /v1/models                 as OpenAI's API; also "instruction": one, or a list for each
  POST /embed  POST /tokenize  GET /info  GET /health  as text-embeddings-inference; prompt_name names a preset
  GET /metrics  GET /openapi.json                      for Prometheus; what all of these take and answer

presets: named instructions, picked as the model "NAME:PRESET" or as prompt_name. --presets reads them from a file
{"query": "Represent the question for retrieving supporting documents: ", ...}, --preset adds one.

key: with INSTRUCTOR_ONNX_API_KEY in the environment, or --api-key-file (one key a line), every request but
GET /health needs "Authorization: Bearer KEY". Neither shows in the list of processes.

limits: a body too large is answered 413, an input that cannot be embedded 422, and when too much waits 429 with
Retry-After. There is no TLS and no limit of connections: put a reverse proxy before a server that others reach.

examples:
  instructor-onnx serve my-bundle
  instructor-onnx serve my-bundle --host 0.0.0.0 --api-key-file key.txt --presets presets.json
  instructor-onnx serve instructor-mini --preset "query=Represent the question for retrieving documents: "
  curl http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: application/json' \\
      -d '{"input": "3D ActionSLAM", "instruction": "Represent the Science title: "}'
"""

INFO = """\
What the bundle holds, by its manifest (`instructor-onnx check` reads the files), and what this machine does with it:
processor, threads and what sets their number, each instruction set of the native kernels with its self-check, whether
onnxruntime's 8-bit products are exact, and for each variant the engine that runs it and why. --json has the same facts:
put them into a bug report.

examples:
  instructor-onnx info my-bundle
  instructor-onnx info my-bundle --json
"""

BENCH = """\
Times `INSTRUCTOR.encode`, from texts to vectors, on the CPU: a single query by length, calls of several rows, mixed
lengths by token budget and by threads; each variant in a process of its own, with its memory. Then says what limits
it here, and which settings were the fastest. Takes about a minute a variant; other work on the machine shows. What
cannot run here, as an engine that is not installed, is left out and named.

examples:
  instructor-onnx bench my-bundle
  instructor-onnx bench my-bundle --variants int8 --threads 4 --json figures.json
  instructor-onnx bench instructor-mini --seconds 0.2                a quick look
"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; the result's `command` is the one chosen."""
    overview = argparse.ArgumentParser(
        prog="instructor-onnx",
        description="INSTRUCTOR text embeddings: export a checkpoint once, embed anywhere without PyTorch.",
        epilog=OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    overview.add_argument("--version", action="version", version=f"instructor-onnx {__version__}")
    commands = overview.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_export(_command(commands, "export", "turn a checkpoint into a verified bundle", EXPORT))
    _add_encode(_command(commands, "encode", "embed a file of texts", ENCODE))
    _add_check(_command(commands, "check", "is a bundle whole, does it run, is it right", CHECK))
    _add_info(_command(commands, "info", "what a bundle holds, and what this machine runs it on", INFO))
    _add_serve(_command(commands, "serve", "answer requests over HTTP", SERVE))
    _add_bench(_command(commands, "bench", "how fast is a bundle here, and with which settings", BENCH))
    return overview


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, explanation: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=explanation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a Hugging Face id")
    command.add_argument("out", metavar="OUT", type=Path, help="the bundle's folder, made here")
    command.add_argument(
        "--variants",
        type=_names,
        default=("fp32", "int8"),
        metavar="LIST",
        help="which models to write, with commas between: fp32, int8, int4 (the smallest file), fp16, bf16 (for GPUs) "
        "(default: fp32,int8)",
    )
    _add_min_cosine(command)
    command.add_argument(
        "--calibrate",
        metavar="FILE",
        help="texts like yours that int8 and int4 are fitted to: JSON lines of [instruction, text] "
        "(default: the exporter's own)",
    )
    command.add_argument("--name", help="the model's name in the bundle (default: the checkpoint's)")
    command.add_argument("--overwrite", action="store_true", help="replace OUT, once the new bundle is verified")
    command.add_argument("--threads", type=_threads, metavar="N", help="CPU threads of the verification")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    _add_hub(command, "CHECKPOINT")


def _add_encode(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, a Hugging Face id, or instructor-mini")
    command.add_argument("input", metavar="INPUT", help="a file, or - for stdin")
    command.add_argument("-o", "--output", metavar="OUTPUT", required=True, help="a file, or - for stdout (jsonl)")

    rows = command.add_argument_group("rows")
    rows.add_argument(
        "--input-format", choices=["jsonl", "csv", "text"], help="default: by INPUT's suffix; needed for stdin"
    )
    rows.add_argument("--output-format", choices=["npy", "jsonl", "parquet"], help="default: by OUTPUT's suffix")
    rows.add_argument(
        "--text-column", type=_text, default="text", metavar="NAME", help="the column to embed (default: text)"
    )
    instruction = rows.add_mutually_exclusive_group()
    instruction.add_argument(
        "--instruction-column", type=_text, metavar="NAME", help="the column with each row's instruction"
    )
    instruction.add_argument("--instruction", type=_text, metavar="TEXT", help="one instruction for all texts")
    rows.add_argument(
        "--embedding-column",
        type=_text,
        default="embedding",
        metavar="NAME",
        help="the new column of jsonl and parquet (default: embedding)",
    )

    files = command.add_argument_group("output")
    files.add_argument("--overwrite", action="store_true", help="replace OUTPUT, once the new one is complete")
    files.add_argument("--restart", action="store_true", help="forget what an interrupted run has done")
    files.add_argument(
        "--chunk-rows",
        type=_positive,
        default=CHUNK_ROWS,
        metavar="N",
        help="rows between two save points and two moves of the progress bar; of long ones fewer, about "
        f"{CHUNK_BYTES >> 20} MB (default: {CHUNK_ROWS})",
    )
    files.add_argument("--quiet", action="store_true", help="no progress on stderr")

    model = _add_model(command)
    model.add_argument("--batch-size", type=_positive, default=32, metavar="N", help="texts of one run (default: 32)")
    _add_hub(command, "BUNDLE")


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, a Hugging Face id, or instructor-mini")
    command.add_argument("--host", default=Options.host, metavar="ADDRESS", help=f"default: {Options.host}")
    command.add_argument("--port", type=_port, default=Options.port, metavar="N", help=f"default: {Options.port}")
    command.add_argument(
        "--served-model-name",
        action="append",
        default=[],
        metavar="NAME",
        help="what requests call the model; may be given several times (default: the bundle's name)",
    )
    command.add_argument("--presets", type=Path, metavar="FILE", help="named instructions, as a JSON object")
    command.add_argument("--preset", action="append", default=[], metavar="NAME=INSTRUCTION", help="one more of them")
    command.add_argument("--api-key-file", type=Path, metavar="FILE", help="keys, one a line; a request needs one")
    command.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that requests may be addressed to, where only this machine can reach the server and it "
        "has no key; may be given several times (any name may, where others can, or where it has a key)",
    )
    command.add_argument("--access-log", action="store_true", help="a line on stderr for each request")

    request = command.add_argument_group("limits of a request")
    _add_limit(request, "--payload-limit", Options.payload_limit, "bytes of a body")
    _add_limit(request, "--max-client-batch-size", Options.max_client_batch_size, "inputs of a request")
    _add_limit(request, "--body-timeout", Options.body_timeout, "seconds until a head, and then a body, must have come")
    _add_limit(request, "--write-timeout", Options.write_timeout, "seconds until the answer must have been read")
    request.add_argument(
        "--auto-truncate",
        action=argparse.BooleanOptionalAction,
        default=Options.auto_truncate,
        help="cut inputs that are too long where a request does not say `truncate`; otherwise they are an error",
    )

    load = command.add_argument_group("limits of all requests together")
    _add_limit(load, "--max-connections", Options.max_connections, "open connections")
    _add_limit(load, "--max-concurrent-requests", Options.max_concurrent_requests, "requests being answered")
    _add_limit(load, "--max-queue-tokens", Options.max_queue_tokens, "tokens that wait for a run")
    _add_limit(load, "--drain-timeout", Options.drain_timeout, "seconds to finish what runs, after SIGTERM")

    model = _add_model(command)
    model.add_argument(
        "--max-batch-tokens", type=_positive, metavar="N", help="tokens of one run, padded (default: fits the device)"
    )
    _add_hub(command, "BUNDLE")


def _add_limit(group: argparse._ArgumentGroup, flag: str, default: int, meaning: str) -> None:
    group.add_argument(flag, type=_positive, default=default, metavar="N", help=f"{meaning} (default: {default:,})")


def _add_model(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    model = command.add_argument_group("model")
    model.add_argument("--variant", metavar="NAME", help="fp32, int8, ... (default: the most exact that runs well)")
    model.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: cuda where it works, else cpu)")
    model.add_argument(
        "--engine",
        choices=ENGINES,
        help="what computes (default: native for int8 and int4 on the CPU where instructor-onnx-kernels is installed)",
    )
    model.add_argument("--threads", type=_threads, metavar="N", help="CPU threads (default: all this process may use)")
    model.add_argument(
        "--max-seq-length",
        type=_positive,
        metavar="N",
        help="tokens kept of instruction and text together (default: the model's, 512 as published)",
    )
    return model


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle's folder, or instructor-mini")
    command.add_argument("--against", metavar="CHECKPOINT", help="a folder or a Hugging Face id: verify again")
    command.add_argument(
        "--record", action="store_true", help="write the figures of --against into the bundle's manifest and model card"
    )
    _add_min_cosine(command)
    command.add_argument("--threads", type=_threads, metavar="N", help="CPU threads of --against")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    _add_hub(command, "CHECKPOINT")


def _add_info(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle's folder, or instructor-mini")
    command.add_argument("--json", action="store_true", help="everything as one JSON object")


def _add_bench(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle's folder, or instructor-mini")
    command.add_argument("--variants", type=_names, metavar="LIST", help="with commas between (default: all for CPUs)")
    command.add_argument("--threads", type=_threads, metavar="N", help="most CPU threads (default: all it may use)")
    command.add_argument(
        "--seconds",
        type=_seconds,
        default=2.0,
        metavar="S",
        help="of each measurement, about 20 a variant (default: 2)",
    )
    command.add_argument("--json", type=Path, metavar="PATH", help="write every figure there, too")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _add_min_cosine(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--min-cosine",
        type=_cosine,
        metavar="X",
        help="refuse a quantised variant with a vector of lower cosine to PyTorch's "
        "(default: 0.99 for int8, 0.97 for int4, 0.9995 for fp16 and bf16)",
    )


def _add_hub(command: argparse.ArgumentParser, what: str) -> None:
    hub = command.add_argument_group(f"Hugging Face hub (where {what} is an id)")
    hub.add_argument("--revision", metavar="REV", help="a branch, tag or commit (default: main)")
    hub.add_argument("--token", help="for a private repository (default: the one of `hf auth login`)")
    hub.add_argument("--cache-folder", type=Path, metavar="DIR", help="default: as HF_HOME says")
    hub.add_argument("--offline", action="store_true", help="take it from the cache, never from the network")


def _names(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"found {value!r}, expected names with commas between, as fp32,int8")
    return names


def _positive(value: str) -> int:
    return _whole(value, MOST)


def _threads(value: str) -> int:
    return _whole(value, MOST_THREADS)


def _whole(value: str, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 20 or not 1 <= int(value) <= most:
        raise argparse.ArgumentTypeError(f"found {value!r:.60}, expected a whole number from 1 to {most:,}")
    return int(value)


def _text(value: str) -> str:
    if not is_unicode(value):
        raise argparse.ArgumentTypeError(f"found {value!r:.60}, expected a text in UTF-8")
    return value


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 20 or int(value) > 65535:
        raise argparse.ArgumentTypeError(f"found {value!r}, expected a port from 0 (any free one) to 65535")
    return int(value)


def _seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"found {value!r}, expected seconds, more than 0 and at most 3600")
    return number


def _cosine(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"found {value!r}, expected a number from 0 to 1")
    return number
