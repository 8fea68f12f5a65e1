"""A checkpoint -> a verified bundle. One line a stage."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from instructor_onnx import __version__
from instructor_onnx.bundle import (
    FORMAT_VERSION,
    MANIFEST,
    MODEL_CARD,
    TOKENIZER,
    Manifest,
    Model,
    Variant,
    Verification,
    check_hashes,
    describe_file,
)
from instructor_onnx.hub import HubOptions
from instructor_onnx.inputs import Row
from tqdm import tqdm

from instructor_onnx_export.calibrate import CALIBRATION_TEXTS, observe, read_rows, samples, smooth
from instructor_onnx_export.card import model_card
from instructor_onnx_export.checkpoint import Checkpoint, read_checkpoint
from instructor_onnx_export.config import Config
from instructor_onnx_export.graph import write_graph
from instructor_onnx_export.half import Half
from instructor_onnx_export.linear import Fp32, Int4Blocks, Int8PerRow, Precision
from instructor_onnx_export.model_file import DATA, MODEL
from instructor_onnx_export.oracle import Oracle
from instructor_onnx_export.verify import Expected, ask_oracle, judge, measure, probe_rows, verifying_device

CALIBRATED = frozenset({"int8", "int4"})
HALF: dict[str, Callable[[Config, Mapping[str, torch.Tensor]], Precision]] = {"fp16": Half.fp16, "bf16": Half.bf16}
DEVICES = {"fp32": ("cpu", "cuda"), "int8": ("cpu",), "int4": ("cpu",), "fp16": ("cuda",), "bf16": ("cuda",)}

Stage = Callable[..., Any]


class Plan(NamedTuple):
    """How a variant is written."""

    weights: Mapping[str, torch.Tensor]
    precision: Precision


class ExportError(Exception):
    """An export that cannot start or may not finish; nothing is written."""


def export(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    variants: Sequence[str] = ("fp32", "int8"),
    name: str | None = None,
    min_cosine: float | None = None,
    calibrate: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    num_threads: int | None = None,
    show_progress: bool = True,
) -> Manifest:
    """Export a checkpoint of the INSTRUCTOR family to a bundle, and verify it against PyTorch.

    Args:
        checkpoint: a folder in sentence-transformers layout, or a Hugging Face id of one.
        out: the bundle folder to make.
        variants: which models it holds: "fp32", "int8", "int4", and for GPUs "fp16", "bf16". Those two are verified
            where onnxruntime can use CUDA; elsewhere they are written unverified, and the manifest says so.
        name: the model's name in the bundle; None: the id, or the folder's name.
        min_cosine: smallest cosine to PyTorch, over the probe rows, that a variant other than fp32 may have; None: 0.99
            for int8, 0.97 for int4, 0.9995 for fp16 and bf16.
        calibrate: texts that int8 and int4 are fitted to, JSON lines of [instruction, text]; None: the exporter's own.
        overwrite: replace a bundle that is already there (it stays until the new one is verified).
        revision, token, cache_folder, local_files_only: as in huggingface_hub, for an id.
        num_threads: CPU threads of the verification; None: what affinity and container quota allow.
        show_progress: each stage with its time, on stderr.

    Returns:
        The manifest of the bundle.

    Raises:
        ExportError: an unknown variant, a target that exists.
        CheckpointError: the checkpoint is not of the family, or damaged.
        CalibrationError: the calibration texts cannot be used.
        RangeError: the checkpoint may leave fp16's range.
        VerificationError: a variant is further from PyTorch than allowed. Nothing is written.
    """
    target = Path(out)
    _check_request(target, variants, overwrite)
    texts = read_rows(CALIBRATION_TEXTS if calibrate is None else Path(calibrate))
    stage = _stages(show_progress)
    hub = HubOptions(revision, token, cache_folder, local_files_only)
    with _written_whole(target, overwrite) as folder:
        with stage("Reading the checkpoint"):
            source = read_checkpoint(checkpoint, hub)
        oracle = Oracle(source)
        expected = _expected(source, oracle, stage)
        plans = _plans(source, oracle, variants, texts, stage)
        del oracle
        for variant in variants:
            with stage(f"Writing {variant}", source.config.num_layers + 1, "layer") as bar:
                weights, precision = plans[variant]
                write_graph(folder / variant, source.config, weights, precision, bar.update)
        with stage("Hashing"):
            (folder / TOKENIZER).write_bytes(source.tokenizer_json)
            manifest = _manifest(folder, source, name, {variant: plans[variant].precision for variant in variants})
            manifest.write(folder)
        del (
            source,
            plans,
            weights,
            precision,
        )  # the mapped files would count twice beside the models that are opened next
        _return_memory()
        manifest = _verified(folder, manifest, expected, min_cosine, num_threads, stage)
        manifest.write(folder)
        (folder / MODEL_CARD).write_text(model_card(manifest), encoding="utf-8")
    return manifest


def verify_bundle(
    bundle: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    *,
    min_cosine: float | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    num_threads: int | None = None,
    show_progress: bool = True,
) -> dict[str, Verification]:
    """Hold a bundle against the checkpoint it was made from, anew: all hashes, then every variant that runs here.

    Returns:
        What was measured, by variant; nothing of those for CUDA where there is none. The bundle is not changed.

    Raises:
        BundleError: a file is missing or damaged.
        CheckpointError, VerificationError: as `export`.
    """
    folder = Path(bundle)
    manifest = Manifest.read(folder)
    stage = _stages(show_progress)
    with stage("Hashing"):
        check_hashes(folder, manifest.files())
    with stage("Reading the checkpoint"):
        source = read_checkpoint(checkpoint, HubOptions(revision, token, cache_folder, local_files_only))
    expected = _expected(source, Oracle(source), stage)
    del source
    checked = _verified(folder, manifest, expected, min_cosine, num_threads, stage)
    return {name: v.verification for name, v in checked.variants.items() if v.verification is not None}


def _expected(source: Checkpoint, oracle: Oracle, stage: Stage) -> Expected:
    rows = probe_rows(source.config.max_seq_length)
    with stage("Asking PyTorch", len(rows), "row") as bar:
        return ask_oracle(oracle, rows, bar.update)


def _plans(
    source: Checkpoint, oracle: Oracle, variants: Sequence[str], texts: list[Row], stage: Stage
) -> dict[str, Plan]:
    """What each variant is written from: the checkpoint's weights or those with outliers migrated, and how."""
    plans = {"fp32": Plan(source.weights, Fp32())}
    if CALIBRATED.intersection(variants):
        with stage("Calibrating", len(texts), "row") as bar:
            observed = observe(oracle, source.config, texts, bar.update)
        plans["int4"] = Plan(source.weights, Int4Blocks(samples(observed, source.config)))
        if "int8" in variants:
            with stage("Migrating outliers", len(observed), "product") as bar:
                smoothed = smooth(source.weights, source.config, observed, bar.update)
            plans["int8"] = Plan(smoothed, Int8PerRow())
    for name in HALF.keys() & variants:
        plans[name] = Plan(source.weights, HALF[name](source.config, source.weights))
    return plans


def _verified(
    folder: Path,
    manifest: Manifest,
    expected: Expected,
    min_cosine: float | None,
    num_threads: int | None,
    stage: Stage,
) -> Manifest:
    """The manifest with what was measured, or VerificationError for the first variant that is too far off.

    A variant for a device that is not here stays without a verification.
    """
    variants = {}
    for name, variant in manifest.variants.items():
        device = verifying_device(variant.devices)
        if device is None:
            variants[name] = dataclasses.replace(variant, verification=None)
            continue
        with stage(f"Verifying {name}"):
            found = measure(folder, name, expected, num_threads, device)
        judge(name, found, min_cosine)
        variants[name] = dataclasses.replace(variant, verification=found)
    return dataclasses.replace(manifest, variants=variants)


def _manifest(folder: Path, source: Checkpoint, name: str | None, precisions: Mapping[str, Precision]) -> Manifest:
    config = source.config
    return Manifest(
        format_version=FORMAT_VERSION,
        exporter=f"instructor-onnx {__version__}",
        model=Model(
            name=name or source.name,
            d_model=config.d_model,
            d_ff=config.d_ff,
            d_kv=config.d_kv,
            num_heads=config.num_heads,
            num_layers=config.num_layers,
            vocab_size=config.vocab_size,
            feed_forward=config.feed_forward,
            embedding_dim=config.embedding_dim,
            max_seq_length=config.max_seq_length,
            dense=config.has_dense,
            normalize=config.normalize,
            pad_token_id=config.pad_token_id,
            eos_token_id=config.eos_token_id,
            source_sha256=source.source_sha256,
        ),
        tokenizer=describe_file(folder, TOKENIZER),
        variants={
            variant: Variant(
                files=tuple(describe_file(folder, f"{variant}/{file}") for file in (MODEL, DATA)),
                weight_type=precision.weight_type,
                devices=DEVICES[variant],
                opset=precision.attention.opset,
                verification=None,
            )
            for variant, precision in precisions.items()
        },
    )


def _check_request(target: Path, variants: Sequence[str], overwrite: bool) -> None:
    unknown = [variant for variant in variants if variant not in DEVICES]
    if unknown or not variants or len(set(variants)) != len(variants):
        raise ExportError(f"variants: found {', '.join(variants) or 'none'}; choose from {', '.join(DEVICES)}.")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file():
        raise ExportError(f"{target}: exists and is not a bundle; name another folder.")
    if not overwrite:
        raise ExportError(f"{target}: there is a bundle already; name another folder, or --overwrite.")


@contextlib.contextmanager
def _written_whole(target: Path, overwrite: bool) -> Iterator[Path]:
    """A folder beside `target` that takes its place if the block succeeds, and is removed if it does not.

    A process that was killed could not remove its folder: the next export to the same target does.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{target.name}.partial-"
    for left in target.parent.glob(f"{stem}*"):
        if not _is_running(left.name.removeprefix(stem)):
            shutil.rmtree(left, ignore_errors=True)
    folder = target.parent / f"{stem}{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            old = folder.with_name(folder.name + "-old")
            target.rename(old)
            try:
                folder.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _return_memory() -> None:
    """Give what torch has freed back to the system, where glibc would keep it for later."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _is_running(pid: str) -> bool:
    """Whether the process that owns a left folder lives; where that cannot be asked, assume so."""
    return not pid.isdigit() or not Path("/proc").is_dir() or Path("/proc", pid).exists()


def _stages(show_progress: bool) -> Stage:
    @contextlib.contextmanager
    def stage(title: str, total: int = 1, unit: str = "") -> Iterator[tqdm[Any]]:
        """A progress bar on stderr that ends as one line with the stage's time."""
        start = time.perf_counter()
        with tqdm(total=total, desc=f"{title:<24}", unit=unit, leave=False, disable=not show_progress) as bar:
            yield bar
        if show_progress:
            tqdm.write(f"{title:<24} {time.perf_counter() - start:7.1f} s", file=sys.stderr)

    return stage
