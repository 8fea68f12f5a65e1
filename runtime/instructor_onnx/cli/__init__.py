"""The `instructor-onnx` command: arguments in, one of the library's functions called, its answer printed.

stdout carries data and reports, stderr progress, warnings and errors. Exit codes: 0 done, 1 failed (one line
says why and what to do), 2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from instructor_onnx.bench import measure, report
from instructor_onnx.bundle import BundleError, InstructorOnnxError, Manifest, Verification, size_of
from instructor_onnx.check import check_bundle
from instructor_onnx.cli import arguments, machine
from instructor_onnx.files import stream
from instructor_onnx.files.records import Columns, input_format_of
from instructor_onnx.files.resume import State
from instructor_onnx.files.writers import output_format_of
from instructor_onnx.loading import embedded
from instructor_onnx.model import INSTRUCTOR

EXPECTED_ERRORS = (InstructorOnnxError, OSError, ValueError, TypeError, ImportError, RuntimeError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None: those of the process.

    Returns:
        The exit code.
    """
    _replace_closed_streams()
    args = arguments.parser().parse_args(argv)
    command = {"export": _export, "encode": _encode, "check": _check, "info": _info, "serve": _serve, "bench": _bench}[
        args.command
    ]
    handler = _Warnings(logging.WARNING)
    packages = [logging.getLogger(name) for name in ("instructor_onnx", "instructor_onnx_export")]
    for package in packages:
        package.addHandler(handler)
    try:
        with _terminated_as_interrupted():
            command(args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        _error_to_stderr(f"interrupted. {_resume_hint(args, same=True) or 'Nothing was written.'}")
        return 130
    except BrokenPipeError:
        # The reader of stdout has left, as `| head` does; what Python would flush at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if args.debug or not isinstance(error, EXPECTED_ERRORS):
            raise
        # What the system or the memory refused may be granted the next time; our own errors say what to change first.
        same = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        said = _as_options(str(error), args) or type(error).__name__
        _error_to_stderr(f"error: {said} {_resume_hint(args, same=same)}")
        return 1
    finally:
        for package in packages:
            package.removeHandler(handler)


def _export(args: argparse.Namespace) -> None:
    import instructor_onnx_export  # here: torch is slow to import, and need not be installed for the rest

    manifest = instructor_onnx_export.export(
        args.checkpoint,
        args.out,
        variants=args.variants,
        name=args.name,
        min_cosine=args.min_cosine,
        calibrate=args.calibrate,
        overwrite=args.overwrite,
        num_threads=args.threads,
        show_progress=not args.quiet,
        **_hub_options(args),
    )
    _to_stdout(f"{args.out}: {_model_line(manifest)}")
    _to_stdout(_variant_table(manifest, {name: variant.verification for name, variant in manifest.variants.items()}))
    _to_stdout(f"Next: instructor-onnx encode {args.out} texts.jsonl -o vectors.npy")
    if failed := [name for name in args.variants if name not in manifest.variants]:
        raise BundleError(
            f"{args.out}: was written without {', '.join(failed)}; the warnings say why. "
            f"Where the rest is enough, export with --variants {','.join(manifest.variants)}."
        )


def _encode(args: argparse.Namespace) -> None:
    job = _job(args)
    total = stream.prepare(job)
    model = _model(args)
    identity = stream.model_identity(model)
    done = stream.run(model, job, identity=identity, total=total, show_progress=not args.quiet)
    if not args.quiet:
        now = done.rows - done.resumed_rows
        before = f", {done.resumed_rows:,} of them by an earlier run" if done.resumed_rows else ""
        _to_stderr(
            f"{args.output}: {done.rows:,} texts{before}, {model.get_sentence_embedding_dimension()} numbers each, "
            f"{now / max(done.seconds, 1e-9):,.1f} texts/s"
        )


def _check(args: argparse.Namespace) -> None:
    if args.record and args.against is None:
        raise ValueError("--record: there are no figures without --against CHECKPOINT; name the checkpoint.")
    folder = embedded(args.bundle) or Path(args.bundle)
    manifest = Manifest.read(folder)
    _to_stdout(f"{folder}: {_model_line(manifest)}")
    for part in check_bundle(folder):
        _to_stdout(f"{'ok' if part.passed else '--'}  {part.said}")
    if args.against is not None:
        import instructor_onnx_export

        found = instructor_onnx_export.verify_bundle(
            folder,
            args.against,
            min_cosine=args.min_cosine,
            record=args.record,
            num_threads=args.threads,
            show_progress=not args.quiet,
            **_hub_options(args),
        )
        _to_stdout(f"ok  against {args.against}:")
        _to_stdout(_variant_table(manifest, found))


def _info(args: argparse.Namespace) -> None:
    folder = embedded(args.bundle) or args.bundle
    manifest = Manifest.read(folder)
    here = machine.look(manifest, folder)
    if args.json:
        facts = {
            "bundle": str(args.bundle),
            "manifest": dataclasses.asdict(manifest),
            "machine": dataclasses.asdict(here),
        }
        _to_stdout(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    model = manifest.model
    _to_stdout(f"{args.bundle}: {_model_line(manifest)}")
    _to_stdout(
        f"model       d_model {model.d_model}, d_ff {model.d_ff} ({model.feed_forward}), {model.num_layers} layers of "
        f"{model.num_heads} heads × {model.d_kv}, {model.vocab_size:,} tokens\n"
        f"vectors     {model.embedding_dim} numbers, {'unit length' if model.normalize else 'not normalized'}, "
        f"of at most {model.max_seq_length} tokens\n"
        f"made by     {manifest.exporter}\n\n"
        f"{machine.text(here)}\n"
    )
    for name, variant in manifest.variants.items():
        _to_stdout(f"{name}: {variant.weight_type} weights for {', '.join(variant.devices)}, opset {variant.opset}")
        for file in variant.files:
            _to_stdout(f"    {file.path}  {size_of([file])}  sha256 {file.sha256[:16]}…")
    _to_stdout("")
    _to_stdout(_variant_table(manifest, {name: variant.verification for name, variant in manifest.variants.items()}))


def _serve(args: argparse.Namespace) -> None:
    from instructor_onnx import server  # here: its framework takes a while to import, and is an extra

    options = server.Options(
        host=args.host,
        port=args.port,
        allowed_hosts=tuple(args.allowed_host),
        model_names=tuple(args.served_model_name),
        presets=server.read_presets(args.presets, args.preset),
        api_keys=server.read_api_keys(args.api_key_file, os.environ.get(server.API_KEY)),
        payload_limit=args.payload_limit,
        max_client_batch_size=args.max_client_batch_size,
        auto_truncate=args.auto_truncate,
        body_timeout=args.body_timeout,
        write_timeout=args.write_timeout,
        max_connections=args.max_connections,
        max_concurrent_requests=args.max_concurrent_requests,
        max_queue_tokens=args.max_queue_tokens,
        drain_timeout=args.drain_timeout,
        access_log=args.access_log,
    )

    server.serve(lambda: _model(args, token_budget=args.max_batch_tokens), options)


def _bench(args: argparse.Namespace) -> None:
    folder = embedded(args.bundle) or args.bundle
    manifest = Manifest.read(folder)
    for_cpu = [name for name, variant in manifest.variants.items() if "cpu" in variant.devices]
    if args.json is not None and not args.json.parent.is_dir():
        raise ValueError(f"--json {args.json}: there is no folder {args.json.parent}.")
    if not (variants := list(args.variants or for_cpu)):
        raise BundleError(f"{folder}: has no variant for CPUs (it has {', '.join(manifest.variants)}). Export one.")
    found = measure.bench(
        folder, variants=variants, num_threads=args.threads, seconds=args.seconds, show_progress=not args.quiet
    )
    _to_stdout(f"{args.bundle}: {_model_line(manifest)}\n\n{report.tables(found)}")
    if args.json is not None:
        figures = dataclasses.asdict(found)
        args.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _model(args: argparse.Namespace, *, token_budget: int | None = None) -> INSTRUCTOR:
    """The model that `encode` and `serve` are told to load."""
    model = INSTRUCTOR(
        args.bundle,
        variant=args.variant,
        device=args.device,
        engine=args.engine,
        num_threads=args.threads,
        token_budget=token_budget,
        **_hub_options(args),
    )
    if args.max_seq_length is not None:
        model.max_seq_length = args.max_seq_length
    return model


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
        restart=args.restart,
    )


def _hub_options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "revision": args.revision,
        "token": args.token,
        "cache_folder": args.cache_folder,
        "local_files_only": args.offline,
    }


def _as_options(message: str, args: argparse.Namespace) -> str:
    """An error of the library in the command's words: variant='int8' is --variant int8, where there is that option."""

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        return f"--{name} {value}" if hasattr(args, name) else found.group()

    return re.sub(r"(?<![^\s(`])(variant|device|engine)='([^']*)'", option, message)


def _resume_hint(args: argparse.Namespace, *, same: bool) -> str:
    """What becomes of the work done so far, where `encode` has done some; `same`: the same command may continue it."""
    try:
        state = State.read(_job(args).folder) if args.command == "encode" else None
    except (OSError, ValueError):
        return ""
    if state is None:
        return ""
    return f"{state.rows:,} rows are done and kept" + (": run the same command again to continue." if same else ".")


def _model_line(manifest: Manifest) -> str:
    return f"{manifest.model.name}, variants {', '.join(manifest.variants)}"


def _variant_table(manifest: Manifest, verified: Mapping[str, Mapping[str, Verification]]) -> str:
    """Size of each variant, and the figures of each engine on it, against the checkpoint in torch."""
    figures = ("max abs diff", "cosine mean", "1st pct", "minimum", "same in any batch")
    lines: list[tuple[str, ...]] = [("variant", "size", "engine", *figures)]
    processors = set()
    for name, variant in manifest.variants.items():
        size = size_of(variant.files)
        engines = verified.get(name, {}).values()
        if not engines:
            lines.append((name, size, "not verified", *[""] * len(figures)))
        for found in engines:
            cosines = (f"{cosine:.6f}" for cosine in (found.cosine_mean, found.cosine_p1, found.cosine_min))
            same = "yes" if found.batch_invariant else "no"
            lines.append((name, size, found.engine, f"{found.max_abs_diff:.1e}", *cosines, same))
            processors.add(found.processor)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*table, *(f"measured on {name}" for name in sorted(processors))])


class _Warnings(logging.Handler):
    """The package's warnings on stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(f"instructor-onnx: warning: {record.getMessage()}", file=sys.stderr)


def _to_stdout(text: str) -> None:
    if sys.stdout is None:
        raise ValueError("stdout: is closed, and the answer goes there. Send it to a file: > FILE.")
    # a path may hold bytes, and a terminal's encoding lack letters
    sys.stdout.write(text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding) + "\n")
    sys.stdout.flush()


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")


def _error_to_stderr(text: str) -> None:
    _to_stderr("instructor-onnx: " + " ".join(text.split()))


def _replace_closed_streams() -> None:
    """Put /dev/null in the place of each standard stream that is closed: the next file to be opened would take it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", errors="replace")  # noqa: PTH123, SIM115 (for as long as the process lives)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that what is half-written is removed."""
    if threading.current_thread() is not threading.main_thread():  # only there may a handler be set
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
