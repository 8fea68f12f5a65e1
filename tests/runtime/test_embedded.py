"""instructor-mini, the model that rides in the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from instructor_onnx import INSTRUCTOR, Manifest, cli
from instructor_onnx.bundle import check_hashes
from instructor_onnx.engines import native
from instructor_onnx.loading import EMBEDDED
from instructor_onnx_export import verify_bundle

CHECKPOINT = Path(__file__).parents[2] / "checkpoints/instructor-mini"
QUESTION = "Represent the question for retrieving supporting documents: "
DOCUMENT = "Represent the document for retrieval: "


@pytest.fixture(scope="module")
def mini() -> INSTRUCTOR:
    return INSTRUCTOR("instructor-mini", device="cpu")


def test_whole_and_small() -> None:
    folder = EMBEDDED["instructor-mini"]
    manifest = Manifest.read(folder)
    check_hashes(folder, manifest.files())
    assert list(manifest.variants) == ["int8"]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 8_000_000


def test_it_is_its_checkpoint() -> None:
    """Exporting anew was not forgotten: `make mini`."""
    found = verify_bundle(EMBEDDED["instructor-mini"], CHECKPOINT, show_progress=False)["int8"]
    assert set(found) == {"onnxruntime"} | ({"native"} if native.is_verified() else set())
    for figures in found.values():
        assert figures.cosine_mean >= 0.999
        assert figures.batch_invariant


def test_by_name_without_torch_or_network() -> None:
    code = (
        "import socket, sys\n"
        "socket.socket = None\n"
        "from instructor_onnx import INSTRUCTOR\n"
        "print(INSTRUCTOR('instructor-mini').encode('a text').shape)\n"
        "print(sorted({'torch', 'huggingface_hub', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["(384,)", "[]"]


def test_the_command_line_knows_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "instructor-mini"]) == 0
    assert cli.main(["check", "instructor-mini", "--quiet"]) == 0
    assert "int8" in capsys.readouterr().out


def test_a_folder_of_that_name_goes_first(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "instructor-mini").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    assert INSTRUCTOR("instructor-mini").get_sentence_embedding_dimension() == 24


def test_it_knows_what_belongs_together(mini: INSTRUCTOR) -> None:
    questions = ["How do plants make sugar?", "Who sets the interest rate?", "What eats hippos?"]
    documents = [
        "The central bank decides every six weeks at what rate commercial banks may borrow.",
        "Lions and crocodiles take young hippos; adults have few enemies.",
        "In the chloroplasts of a leaf, light turns water and carbon dioxide into glucose.",
    ]
    found = mini.similarity(
        mini.encode([[QUESTION, text] for text in questions]), mini.encode([[DOCUMENT, text] for text in documents])
    )
    assert found.argmax(axis=1).tolist() == [2, 0, 1]


def test_it_follows_instructions(mini: INSTRUCTOR) -> None:
    """The same three questions: by topic the first two belong together, by their form the first and the third."""
    questions = ["How do I sort a list in Python?", "What is a list in Python?", "How do I bake bread at home?"]

    def nearest_to_the_first(purpose: str) -> int:
        instruction = f"Represent the StackOverflow title for clustering by {purpose}: "
        vectors = mini.encode([[instruction, question] for question in questions])
        return 1 + int(mini.similarity(vectors[0], vectors[1:])[0].argmax())

    assert nearest_to_the_first("topic") == 1
    assert nearest_to_the_first("question type") == 2
