"""Who is compared: each rival's adapter, its environment, and what its users install. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAIN = "main"  # the environment that this benchmark itself runs in
# What pip installs into each of the other environments; versions of libraries that must agree are left to pip.
ENVIRONMENTS: Mapping[str, tuple[str, ...]] = {
    "openvino": ("torch", "sentence-transformers", "optimum-intel[openvino]", "openvino", "nncf"),
    # wants transformers < 4.58; with sentence-transformers beside it, its command exports a folder as a whole
    "optimum": ("torch", "optimum-onnx[onnxruntime]", "sentence-transformers", "tqdm"),
    "ctranslate2": ("torch", "transformers", "ctranslate2", "tqdm"),
}
# pip brings a torchvision built for CUDA, which breaks transformers beside a CPU build of torch; nothing needs it.
REMOVED = ("torchvision",)
TORCH_FP32 = "torch fp32"  # what everything is compared with


@dataclass(frozen=True)
class Rival:
    """A row of the table."""

    name: str
    adapter: str  # module in benchmarks.compare.adapters
    option: str  # what the adapter makes of it: a variant, a precision
    environment: str  # of ENVIRONMENTS, MAIN, or the Python of one that somebody else has made
    packages: tuple[str, ...]  # whose installed size counts, with all they require: what embedding needs
    engine: str = ""  # of instructor-onnx, where it has several
    prepared: bool = False  # whether the adapter converts the weights first, once, which is not timed


@dataclass(frozen=True)
class Job:
    """What an adapter gets."""

    bundle: Path
    checkpoint: Path
    folder: Path  # where what was prepared lies
    option: str
    engine: str
    threads: int


RIVALS: Sequence[Rival] = (
    Rival(TORCH_FP32, "pytorch", "fp32", MAIN, ("torch", "transformers")),
    Rival("torch bf16", "pytorch", "bf16", MAIN, ("torch", "transformers")),
    Rival("torch quantize_dynamic int8", "pytorch", "int8", MAIN, ("torch", "transformers")),
    Rival("sentence-transformers torch", "sentence_transformers_", "torch", MAIN, ("sentence-transformers",)),
    Rival(
        *("sentence-transformers OpenVINO", "sentence_transformers_", "openvino", "openvino"),
        packages=("sentence-transformers", "optimum-intel", "openvino"),
        prepared=True,
    ),
    Rival("OpenVINO, our graph", "openvino_", "fp32", "openvino", ("openvino", "tokenizers")),
    Rival("OpenVINO NNCF int8, our graph", "openvino_", "int8", "openvino", ("openvino", "tokenizers"), prepared=True),
    Rival(
        *("onnxruntime quantize_dynamic int8, our graph", "onnxruntime_", "int8", MAIN),
        packages=("onnxruntime", "tokenizers"),
        prepared=True,
    ),
    Rival("optimum-onnx fp32", "optimum_", "fp32", "optimum", ("optimum-onnx", "onnxruntime"), prepared=True),
    Rival("optimum-onnx int8", "optimum_", "int8", "optimum", ("optimum-onnx", "onnxruntime"), prepared=True),
    Rival("CTranslate2 fp32", "ctranslate2_", "float32", "ctranslate2", ("ctranslate2", "tokenizers"), prepared=True),
    Rival("CTranslate2 int8", "ctranslate2_", "int8", "ctranslate2", ("ctranslate2", "tokenizers"), prepared=True),
)


def ours(runs: Sequence[tuple[str, str]], before: Path | None = None) -> list[Rival]:
    """instructor-onnx itself, for each (variant, engine); native ones also as another Python has it installed."""

    def rival(variant: str, engine: str, environment: str, note: str = "") -> Rival:
        return Rival(
            f"instructor-onnx {variant}" + (f", {engine}" if engine != "onnxruntime" else "") + note,
            *("instructor_onnx_", variant, environment),
            packages=("instructor-onnx", *(["onnxruntime"] if engine == "onnxruntime" else [])),
            engine=engine,
        )

    earlier = [rival(*run, str(before), ", before") for run in runs if run[1] == "native"] if before else []
    return [*(rival(*run, MAIN) for run in runs), *earlier]
