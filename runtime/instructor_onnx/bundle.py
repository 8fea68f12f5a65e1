"""The bundle on disk: what `manifest.json` says, where each file lies, and whether it is all there.

Knows nothing about ONNX, tokenizers or vectors. A bundle may come from a stranger: every path is resolved
inside its folder, every field is checked for its type, and nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from instructor_onnx.fields import FieldError, Prompt, parse, read_json

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
MODEL_CARD = "README.md"
OPTIMUM_CONFIG = "config.json"  # beside each model, for optimum and transformers
HASH_BLOCK = 1 << 20  # bytes read at a time while hashing
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")  # sentence-transformers' names
SIZE_UNITS = ("bytes", "KB", "MB", "GB", "TB")
MOST_MANIFEST = 1 << 20  # bytes; the exporter writes a few thousand
MOST_TOKENIZER = 64 << 20  # bytes; T5's has 2.4 million, mT5's 16 million

# The whole numbers of a manifest, and what they may be: past any model there is, and far from any overflow.
Width = Annotated[int, range(1, 1 << 20)]
Count = Annotated[int, range(1 << 50)]
Token = Annotated[int, range(1 << 24)]


class InstructorOnnxError(Exception):
    """What these packages raise where no exception of Python's own fits: a sentence that names the fix."""


class BundleError(InstructorOnnxError):
    """A bundle (or checkpoint) folder that cannot be used; the message names the file and the fix."""


@dataclass(frozen=True)
class File:
    """One file of a bundle."""

    path: str  # relative to the bundle, with forward slashes
    bytes: Count
    sha256: str


@dataclass(frozen=True)
class Model:
    """What the model is: the numbers a reader, a tokenizer check or another runtime needs."""

    name: str
    d_model: Width
    d_ff: Width
    d_kv: Width
    num_heads: Width
    num_layers: Width
    vocab_size: Annotated[int, range(1, 1 << 24)]  # rows of the embedding table; a tokenizer may have fewer tokens
    feed_forward: str  # "relu" or "gated-gelu"
    embedding_dim: Width  # width of sentence_embedding
    max_seq_length: Width  # tokens kept of instruction + text, </s> included
    dense: bool  # whether a Dense layer maps d_model to embedding_dim
    normalize: bool  # False: sentence_embedding is left at the length that pooling and Dense gave it
    pad_token_id: Token
    eos_token_id: Token
    source_sha256: dict[str, str]  # the checkpoint files it was made from


@dataclass(frozen=True)
class Verification:
    """What was measured where the bundle was made: one engine on one variant, against the torch oracle."""

    engine: str  # as the runtime names it, and its version: "onnxruntime 1.31.1", "native avx2 0.1.0"
    processor: str  # the machine's CPU, as it calls itself
    device: str
    rows: Count  # probe rows compared
    max_abs_diff: float  # over every number of sentence_embedding (numbers past 1: as a share of the largest)
    token_max_abs_diff: float  # over every number of token_embeddings, likewise
    cosine_mean: float
    cosine_p1: float  # 1st percentile
    cosine_min: float
    batch_invariant: bool  # every row alone has exactly the vector it has in the batch


@dataclass(frozen=True)
class Variant:
    """One ONNX model of the bundle. `files[0]` is the model, the rest its external data."""

    files: tuple[File, ...]
    weight_type: str
    devices: tuple[str, ...]  # where it runs well: "cpu", "cuda"
    opset: Annotated[int, range(1, 1000)]
    verification: dict[str, Verification]  # by engine: "onnxruntime", "native"; empty: not verified yet


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`.

    >>> manifest = Manifest.read(Path("my-bundle"))
    >>> manifest.model.embedding_dim, list(manifest.variants)
    (384, ['int8'])
    """

    format_version: int
    exporter: str  # "instructor-onnx 0.1.0"
    model: Model
    tokenizer: File
    variants: dict[str, Variant]
    # Absent from bundles of earlier versions
    prompts: dict[str, Prompt] = field(default_factory=dict)  # the checkpoint's: name -> instruction
    default_prompt_name: str | None = None  # the one for rows without an instruction
    similarity_fn_name: str = "cosine"
    int8_scale: float | None = None  # step of an int8 embedding: the largest number seen in calibration, by 127

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check `folder/manifest.json`.

        Raises:
            BundleError: no such folder or file, malformed JSON, an unknown version, a field that is missing,
                of the wrong type or past its limits, or a path that leaves the folder.

        >>> Manifest.read(Path("my-bundle")).model.max_seq_length
        512
        """
        path = folder / MANIFEST
        if not folder.is_dir():
            raise BundleError(f"{folder}: no such folder. Make a bundle with `instructor-onnx export`.")
        if path.exists() and not path.is_file():
            raise BundleError(f"{path}: is no regular file. Do not trust this bundle.")
        if not path.is_file():
            hint = (
                "This is a checkpoint: run `instructor-onnx export` on it first."
                if (folder / "config.json").is_file()
                else "Is it an instructor-onnx bundle?"
            )
            raise BundleError(f"{folder}: no {MANIFEST} inside. {hint}")
        try:
            data = read_json(path, "a manifest", MOST_MANIFEST)
            version = data.get("format_version") if isinstance(data, dict) else None
            if version != FORMAT_VERSION:
                raise BundleError(
                    f"{path}: format_version is {version!r:.60}, this instructor-onnx reads {FORMAT_VERSION}. "
                    "Upgrade instructor-onnx or export the checkpoint again."
                )
            manifest = parse(cls, data, str(path))
        except FieldError as error:
            raise BundleError(f"{error} Copy the bundle again, or export the checkpoint again.") from None
        for file in manifest.files():
            resolve_inside(folder, file.path, named_by=path)
        if not manifest.variants or not all(v.files for v in manifest.variants.values()):
            raise BundleError(f"{path}: every bundle needs a variant, and every variant a file.")
        for name, variant in manifest.variants.items():
            # A model names its data files without a folder: those of another one would go unchecked.
            if len({PurePosixPath(file.path).parent for file in variant.files}) > 1:
                raise BundleError(f"{path}: the files of {name} lie in more than one folder. Do not trust this bundle.")
        _check_defaults(path, manifest)
        if manifest.tokenizer.bytes > MOST_TOKENIZER:
            raise BundleError(
                f"{path}: tokenizer: bytes is {manifest.tokenizer.bytes:,}, a tokenizer has at most "
                f"{MOST_TOKENIZER:,}. Do not trust this bundle."
            )
        return manifest

    def write(self, folder: Path) -> None:
        """Write `folder/manifest.json` (the last file written: with it, the bundle is complete).

        >>> manifest = Manifest.read(Path("my-bundle"))
        >>> manifest.write(Path("."))
        >>> Manifest.read(Path(".")) == manifest
        True
        """
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    def files(self, variant: str | None = None) -> list[File]:
        """The tokenizer and the files of one variant (default: of all).

        >>> [file.path for file in Manifest.read(Path("my-bundle")).files("int8")]
        ['tokenizer.json', 'int8/model.onnx', 'int8/model.onnx.data']
        """
        chosen = self.variants.values() if variant is None else [self.variants[variant]]
        return [self.tokenizer, *(file for v in chosen for file in v.files)]

    def fingerprint(self, variant: str, arithmetic: str) -> str:
        """16 hexadecimal digits of what decides a variant's vectors; `arithmetic` is the `Engine`'s.

        Weights, graph and tokenizer by their hashes. Not: the bundle's name, what was verified, threads, batches.

        >>> len(Manifest.read(Path("my-bundle")).fingerprint("int8", "native 1"))
        16
        """
        parts = [*(file.sha256 for file in self.files(variant)), arithmetic]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def check_sizes(folder: Path, files: list[File]) -> None:
    """Raise BundleError for the first of `files` that is missing or not of the manifest's size.

    This is what every load does; hashes take seconds a gigabyte and are left to `check_hashes`.
    """
    for file in files:
        path = resolve_inside(folder, file.path, named_by=folder / MANIFEST)
        if not path.is_file():
            raise BundleError(f"{path}: missing. Copy the bundle again, whole.")
        size = path.stat().st_size
        if size != file.bytes:
            raise BundleError(
                f"{path}: {size:,} bytes, {MANIFEST} says {file.bytes:,}. "
                "The copy is incomplete or was changed: copy the bundle again."
            )


def check_hashes(folder: Path, files: list[File]) -> None:
    """Raise BundleError for the first of `files` whose size or sha256 is not the manifest's."""
    check_sizes(folder, files)
    for file in files:
        path = folder / file.path
        found = sha256(path)
        if found != file.sha256:
            raise BundleError(
                f"{path}: sha256 is {found[:16]}…, {MANIFEST} says {file.sha256[:16]}…. "
                "The file is damaged or was changed: copy the bundle again."
            )


def describe_file(folder: Path, relative: str) -> File:
    """The manifest entry of a file that was just written."""
    path = folder / relative
    return File(path=relative, bytes=path.stat().st_size, sha256=sha256(path))


def size_of(files: Iterable[File]) -> str:
    """The bytes of files together, for a reader: "1.34 GB"."""
    count, unit = float(sum(file.bytes for file in files)), 0
    while count >= 999.5 and unit < len(SIZE_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} {SIZE_UNITS[unit]}" if unit == 0 or count >= 99.5 else f"{count:.3g} {SIZE_UNITS[unit]}"


def sha256(path: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def resolve_inside(folder: Path, relative: str, *, named_by: Path) -> Path:
    """`folder / relative`, refused where it is absolute, climbs out with `..`, or links out of the folder.

    A Hugging Face cache is the one folder whose files are links by design
    (`snapshots/<commit>/x` -> `../../blobs/<hash>`): there the blobs beside it count as inside.

    Raises:
        BundleError: the path leaves the folder; names `named_by`, the file that asked for it.
    """
    parts = PurePosixPath(relative).parts
    if (
        not parts
        or PurePosixPath(relative).is_absolute()
        or PureWindowsPath(relative).drive
        or "\\" in relative
        or "\0" in relative
        or ".." in parts
    ):
        raise BundleError(f"{named_by}: the path {relative!r:.200} leaves the folder. Do not trust this folder.")
    path = folder / relative
    root = folder.resolve()
    inside = [root]
    if root.parent.name == "snapshots" and (root.parent.parent / "blobs").is_dir():
        inside.append(root.parent.parent / "blobs")
    try:
        target = path.resolve()
        target.is_file()  # Python 3.13 resolves a path that is too long, and fails here
    except (OSError, RuntimeError, ValueError) as error:  # too long, links in a circle, half a surrogate pair
        raise BundleError(
            f"{named_by}: the path {relative!r:.60} cannot be looked up ({error!s:.100}). Do not trust this folder."
        ) from None
    if not any(target.is_relative_to(allowed) for allowed in inside):
        raise BundleError(f"{path}: a link that leads out of the folder. Do not trust this folder.")
    return path


def _check_defaults(path: Path, manifest: Manifest) -> None:
    """Raise BundleError for defaults that no model can have."""
    if manifest.default_prompt_name not in (None, *manifest.prompts):
        raise BundleError(f"{path}: default_prompt_name is {manifest.default_prompt_name!r:.60}, which is no prompt.")
    if manifest.similarity_fn_name not in SIMILARITIES:
        raise BundleError(
            f"{path}: similarity_fn_name is {manifest.similarity_fn_name!r:.60}, expected one of "
            f"{', '.join(SIMILARITIES)}."
        )
    if manifest.int8_scale is not None and manifest.int8_scale <= 0:
        raise BundleError(f"{path}: int8_scale is {manifest.int8_scale!r}, expected a number above 0.")
