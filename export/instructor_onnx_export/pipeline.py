"""A checkpoint -> a verified bundle. One line a stage."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from instructor_onnx import __version__
from instructor_onnx.bundle import (
    FORMAT_VERSION,
    MANIFEST,
    MODEL_CARD,
    OPTIMUM_CONFIG,
    TOKENIZER,
    Manifest,
    Model,
    Variant,
    Verification,
    check_hashes,
    describe_file,
)
from instructor_onnx.engines.cuda import GpuOutOfMemoryError
from instructor_onnx.engines.devices import DeviceError
from instructor_onnx.fields import MOST_TEXT, UNPRINTABLE
from instructor_onnx.hub import HubOptions
from instructor_onnx.inputs import Row
from instructor_onnx.vectors import LEVELS

from instructor_onnx_export.calibrate import CALIBRATION_TEXTS, observe, read_rows, samples, smooth
from instructor_onnx_export.card import model_card
from instructor_onnx_export.checkpoint.folder import CheckpointError, shown
from instructor_onnx_export.checkpoint.read import Checkpoint, read_checkpoint
from instructor_onnx_export.config_json import config_json
from instructor_onnx_export.graph.model_file import MODEL_FILE, WEIGHTS_FILE, RangeError
from instructor_onnx_export.graph.precision import Precision
from instructor_onnx_export.graph.t5 import write_graph
from instructor_onnx_export.oracle import Oracle
from instructor_onnx_export.progress import Stage, stages
from instructor_onnx_export.staging import ExportError, staged
from instructor_onnx_export.variants import VARIANTS, Spec, Tensors
from instructor_onnx_export.verify import Expected, VerificationError, ask_oracle, engines, judge, measure, probe_rows

Failures = dict[str, Exception]  # by variant: why it cannot be had

logger = logging.getLogger(__name__)


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
        variants: which models it holds: "fp32", "int8", "int4", and for GPUs "fp16", "bf16". Each is verified on
            every engine that runs it here. Those two need CUDA for that; elsewhere they are written unverified, and
            the manifest says so.
        name: the model's name in the bundle; None: the id, or the folder's name.
        min_cosine: smallest cosine to PyTorch, over the probe rows, that a variant other than fp32 may have; None: 0.99
            for int8, 0.97 for int4, 0.9995 for fp16 and bf16.
        calibrate: texts that int8 and int4 are fitted to, and the range of int8 embeddings, JSON lines of
            [instruction, text]; None: the exporter's own.
        overwrite: replace a bundle that is already there (it stays until the new one is verified).
        revision, token, cache_folder, local_files_only: as in huggingface_hub, for an id.
        num_threads: CPU threads of the verification; None: what affinity and container quota allow.
        show_progress: each stage with its time, on stderr.

    Returns:
        The manifest of the bundle. A variant that failed is not among its `variants`, and a logged warning says why:
        it costs itself, not the others.

    Raises:
        ExportError: an unknown variant, a name that no bundle may have, a target that exists, another export that
            writes there.
        CheckpointError: the checkpoint is not of the family, or damaged.
        CalibrationError: the calibration texts cannot be used.
        RangeError: no variant is left: numbers of the checkpoint leave the range of fp16 or another variant.
        VerificationError: no variant is left: each is further from PyTorch than allowed, on every engine.
        Nothing is written where one is raised.

    >>> manifest = export("checkpoints/instructor-mini", "new-bundle", variants=["int8"], show_progress=False)
    >>> manifest.model.name, list(manifest.variants)
    ('instructor-mini', ['int8'])
    """
    target = Path(out)
    _check_request(variants, name)
    texts = read_rows(CALIBRATION_TEXTS if calibrate is None else Path(calibrate))
    stage = stages(show_progress)
    hub = HubOptions(revision, token, cache_folder, local_files_only)
    with staged(target, overwrite=overwrite) as folder:
        with stage("Reading the checkpoint"):
            source = read_checkpoint(checkpoint, hub)
        oracle = Oracle(source)
        expected = _expected(source, oracle, stage)
        specs = [VARIANTS[variant] for variant in variants]
        migrated, inputs, highest = _calibrated(source, oracle, specs, texts, stage)
        int8_scale = max(highest, float(np.abs(expected.vectors).max())) / LEVELS
        del oracle
        written, failed = _written(folder, source, specs, migrated, inputs, stage)
        if not written:
            raise _summed_up(failed)
        with stage("Hashing"):
            (folder / TOKENIZER).write_bytes(source.tokenizer_json)
            manifest = _manifest(folder, source, name, written, int8_scale)
            manifest.write(folder)
        # The mapped files would count twice beside the models that are opened next.
        del source, migrated, inputs, written
        _return_memory()
        manifest, wrong = _verified(folder, manifest, expected, min_cosine, num_threads, stage)
        failed |= wrong
        if not manifest.variants:
            raise _summed_up(failed)
        for variant in wrong:
            shutil.rmtree(folder / variant)
        manifest.write(folder)
        (folder / MODEL_CARD).write_text(model_card(manifest), encoding="utf-8")
    for error in failed.values():
        logger.warning("left out of %s: %s", target, error)
    return manifest


def verify_bundle(
    bundle: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    *,
    min_cosine: float | None = None,
    record: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    num_threads: int | None = None,
    show_progress: bool = True,
) -> dict[str, dict[str, Verification]]:
    """Hold a bundle against the checkpoint it was made from, anew: all hashes, then every variant that runs here.

    Args:
        record: write what was measured into the bundle's manifest and model card. What the bundle says of variants
            that do not run here stays.

    Returns:
        What was measured, by variant and engine; nothing of the variants for CUDA where it cannot be had. Where there
        is a GPU, a logged warning says why; and one tells of an engine that is wrong here while another is right.

    Raises:
        BundleError: a file is missing or damaged.
        CheckpointError: as `export`.
        VerificationError: the checkpoint is of another shape; or variants are further from it than allowed, each
            with its sentence, once all were measured.

    >>> found = verify_bundle("my-bundle", "checkpoints/instructor-mini", show_progress=False)
    >>> min(measured.cosine_min for measured in found["int8"].values()) > 0.99
    True
    """
    folder = Path(bundle)
    manifest = Manifest.read(folder)
    stage = stages(show_progress)
    with stage("Hashing"):
        check_hashes(folder, manifest.files())
    with stage("Reading the checkpoint"):
        source = read_checkpoint(checkpoint, HubOptions(revision, token, cache_folder, local_files_only))
    _check_same_model(folder, manifest.model, _model(source, None))
    expected = _expected(source, Oracle(source), stage)
    del source
    checked, failed = _verified(folder, manifest, expected, min_cosine, num_threads, stage)
    if failed:
        raise _summed_up(failed)
    if record:
        _record(folder, checked)
    # What was measured is a variant of its own; one that this machine cannot run is the manifest's still.
    return {
        name: variant.verification
        for name, variant in checked.variants.items()
        if variant is not manifest.variants[name]
    }


def _expected(source: Checkpoint, oracle: Oracle, stage: Stage) -> Expected:
    rows = probe_rows(source.config.max_seq_length)
    with stage("Reference vectors", len(rows), "row") as bar:
        expected = ask_oracle(oracle, rows, bar.update)
    if not all(np.isfinite(array).all() for array in (expected.vectors, *expected.tokens)):
        raise CheckpointError(
            f"{source.folder}: PyTorch itself gives NaN or infinity with these weights. They are not those of a model "
            "that works; nothing can be verified against them."
        )
    return expected


def _calibrated(
    source: Checkpoint, oracle: Oracle, specs: Sequence[Spec], texts: list[Row], stage: Stage
) -> tuple[Tensors, Tensors, float]:
    """What `texts` show: the weights with outliers migrated and the inputs seen of each product, where one of `specs`
    asks for them; and the largest number of a vector.
    """
    with stage("Calibrating", len(texts), "row") as bar:
        observed, highest = observe(oracle, source.config, texts, bar.update)
    if not any(spec.calibrated for spec in specs):
        return source.weights, {}, highest
    inputs = samples(observed, source.config)
    if not any(spec.migrated for spec in specs):
        return source.weights, inputs, highest
    with stage("Migrating outliers", len(observed), "product") as bar:
        return smooth(source.weights, source.config, observed, bar.update), inputs, highest


def _written(
    folder: Path, source: Checkpoint, specs: Sequence[Spec], migrated: Tensors, inputs: Tensors, stage: Stage
) -> tuple[dict[str, Precision], Failures]:
    """Write the models; those that could be, and why others could not."""
    written: dict[str, Precision] = {}
    failed: Failures = {}
    for spec in specs:
        weights = migrated if spec.migrated else source.weights
        try:
            with stage(f"Writing {spec.name}", source.config.num_layers + 1, "layer") as bar:
                precision = spec.precision(source.config, weights, inputs)
                write_graph(folder / spec.name, source.config, weights, precision, bar.update)
            (folder / spec.name / OPTIMUM_CONFIG).write_text(config_json(source.config), encoding="utf-8")
            written[spec.name] = precision
        except RangeError as error:
            with contextlib.suppress(FileNotFoundError):  # where it failed before the first weight
                shutil.rmtree(folder / spec.name)
            failed[spec.name] = error.with_traceback(None)  # which would keep the weights
    return written, failed


def _verified(
    folder: Path,
    manifest: Manifest,
    expected: Expected,
    min_cosine: float | None,
    num_threads: int | None,
    stage: Stage,
) -> tuple[Manifest, Failures]:
    """The manifest with what was measured, without the variants that failed; and why those did.

    A variant for a device that is not here, or of no use, stays as it is; the latter is told in a logged warning.
    """
    variants: dict[str, Variant] = {}
    failed: Failures = {}
    for name, variant in manifest.variants.items():
        if not (here := engines(variant)):
            variants[name] = variant
            continue
        if name not in VARIANTS:
            failed[name] = VerificationError(
                f"{folder}: found a variant {name:.60}, expected one of {', '.join(VARIANTS)}. What another "
                "promises is not known here; export the checkpoint again."
            )
            continue
        try:
            with stage(f"Verifying {name}"):
                measured = measure(folder, name, here, expected, num_threads)
            for sentence in judge(VARIANTS[name], measured, min_cosine):
                logger.warning("%s", sentence)
        except (DeviceError, GpuOutOfMemoryError) as error:
            variants[name] = variant
            logger.warning("%s was not verified: %s", name, error)
        except (VerificationError, RuntimeError) as error:  # onnxruntime's: it may know this variant's operators alone
            failed[name] = error.with_traceback(None)  # which would keep the weights
        else:
            variants[name] = dataclasses.replace(variant, verification=measured)
    return dataclasses.replace(manifest, variants=variants), failed


def _record(folder: Path, manifest: Manifest) -> None:
    """Replace manifest and model card, each in one step."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".record-") as beside:
        manifest.write(Path(beside))
        (Path(beside) / MODEL_CARD).write_text(model_card(manifest), encoding="utf-8")
        for name in (MODEL_CARD, MANIFEST):
            (Path(beside) / name).replace(folder / name)


def _summed_up(failed: Failures) -> Exception:
    """One error for variants that failed: the only one, or all sentences in one."""
    first, *others = failed.values()
    return VerificationError(" ".join(map(str, failed.values()))) if others else first


def _check_same_model(folder: Path, ours: Model, theirs: Model) -> None:
    """Raise VerificationError where bundle and checkpoint differ in a number: nothing else could be compared."""
    different = [
        f"{field.name} is {getattr(ours, field.name)} in the bundle and {getattr(theirs, field.name)} in the checkpoint"
        for field in dataclasses.fields(Model)
        if field.name not in ("name", "source_sha256") and getattr(ours, field.name) != getattr(theirs, field.name)
    ]
    if different:
        raise VerificationError(
            f"{folder}: was not made from {theirs.name}: {'; '.join(different)}. Name the checkpoint it was made from "
            f"({ours.name}), or export this one."
        )


def _manifest(
    folder: Path, source: Checkpoint, name: str | None, precisions: Mapping[str, Precision], int8_scale: float
) -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        exporter=f"instructor-onnx {__version__}",
        model=_model(source, name),
        tokenizer=describe_file(folder, TOKENIZER),
        variants={
            variant: Variant(
                files=tuple(describe_file(folder, f"{variant}/{file}") for file in (MODEL_FILE, WEIGHTS_FILE)),
                weight_type=VARIANTS[variant].weight_type,
                devices=VARIANTS[variant].devices,
                opset=precision.attention.opset,
                verification={},
            )
            for variant, precision in precisions.items()
        },
        prompts=source.prompts.by_name,
        default_prompt_name=source.prompts.default_name,
        similarity_fn_name=source.prompts.similarity,
        int8_scale=int8_scale or None,
    )


def _model(source: Checkpoint, name: str | None) -> Model:
    config = source.config
    return Model(
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
    )


def _check_request(variants: Sequence[str], name: str | None) -> None:
    if not variants or len(VARIANTS.keys() & variants) != len(variants):  # one is unknown, or named twice
        raise ExportError(f"variants: found {', '.join(variants) or 'none'}; choose from {', '.join(VARIANTS)}.")
    if name is not None and (len(name) > MOST_TEXT or UNPRINTABLE.search(name)):
        raise ExportError(f"name: found {shown(name)}, expected at most {MOST_TEXT:,} printable characters.")


def _return_memory() -> None:
    """Give what torch has freed back to the system, where glibc would keep it for later."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
