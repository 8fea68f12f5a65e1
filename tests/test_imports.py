"""What the packages offer, and what they may load."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import instructor_onnx
import instructor_onnx_export
import pytest
from instructor_onnx.engines.engine import ENGINES
from instructor_onnx.extras import pip_install

PROJECT = Path(__file__).parents[1]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_public_names() -> None:
    assert instructor_onnx.__all__ == [
        *("INSTRUCTOR", "BundleError", "Manifest", "__version__"),
        *("quantize_embeddings", "truncate_embeddings"),
    ]
    assert instructor_onnx_export.__all__ == [
        *("CalibrationError", "CheckpointError", "ExportError", "RangeError", "VerificationError"),
        *("export", "verify_bundle"),
    ]
    for module in (instructor_onnx, instructor_onnx_export):
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_runtime_loads_nothing_heavy(bundle: Path, engine: str) -> None:
    if engine == "native":
        pytest.importorskip("instructor_onnx.engines.kernels", exc_type=ImportError)
    code = (
        "import sys, instructor_onnx, instructor_onnx.cli\n"
        f"instructor_onnx.INSTRUCTOR({str(bundle)!r}, engine={engine!r}).encode(['a'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = set(run(code).split())
    heavy = {"torch", "transformers", "onnx", "safetensors", "sentencepiece", "instructor_onnx_export", "pyarrow"}
    assert loaded & heavy == set()
    assert ("onnxruntime" in loaded) == (engine == "onnxruntime")


def test_the_runtime_runs_without_what_tokenizers_brings(tmp_path: Path) -> None:
    """`pip install --no-deps instructor-onnx numpy tokenizers tqdm`, as docs/platforms.md has it."""
    pytest.importorskip("instructor_onnx.engines.kernels", exc_type=ImportError)
    (tmp_path / "texts.txt").write_text("a text\n", encoding="utf-8")
    code = (
        "import sys\n"
        "INSTALLED = {'instructor_onnx', 'numpy', 'tokenizers', 'tqdm', '__main__', *sys.stdlib_module_names}\n"
        "class OnlyThese:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] not in INSTALLED:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, OnlyThese())\n"
        "import instructor_onnx, instructor_onnx.cli\n"
        "vectors = instructor_onnx.INSTRUCTOR('instructor-mini').encode([['Represent the text: ', 'a'], 'b'])\n"
        "out, text = sys.argv[1:]\n"
        "code = instructor_onnx.cli.main(['encode', 'instructor-mini', text, '-o', out])\n"
        "print(vectors.shape, code)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "vectors.npy"), str(tmp_path / "texts.txt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["(2, 384) 0"], done.stderr
    assert (tmp_path / "vectors.npy").exists()


def test_the_export_package_names_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "try:\n    import instructor_onnx_export\n"
        "except ImportError as error:\n    print(error)"
    )
    assert run(code).strip() == f"exporting needs transformers: {pip_install('export')}"


@pytest.mark.parametrize(
    ("module", "framework", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("haystack", "haystack", "haystack"),
        ("llama_index", "llama_index", "llama-index"),
        ("chroma", "chromadb", "chroma"),
        ("sklearn", "sklearn", "sklearn"),
        ("spark", "pyspark", "spark"),
    ],
)
def test_an_integration_names_its_extra(module: str, framework: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{framework!r}] = None\n"
        f"try:\n    import instructor_onnx.integrations.{module}\n"
        "except ImportError as error:\n    print(error)"
    )
    assert run(code).strip().endswith(pip_install(extra))


def test_version_and_changelog_agree() -> None:
    version = instructor_onnx.__version__
    assert metadata.version("instructor-onnx") == version
    newest = re.search(r"^## \[(.+?)\]", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


@pytest.mark.parametrize("package", ["runtime/instructor_onnx", "export/instructor_onnx_export"])
def test_packages_are_typed(package: str) -> None:
    assert (PROJECT / package / "py.typed").is_file()
