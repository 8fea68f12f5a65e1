"""examples/java, on the libraries inside a jar that PyPI has: that of Anserini, in the package pyserini."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES, KEPT, Encode

PYSERINI = "pyserini==1.6.0"  # 165 MB
# Anserini's own configuration of its logs, in the same jar, is to stdout.
LOG_TO_STDERR = "-Dlog4j2.loggerContextFactory=org.apache.logging.log4j.simple.SimpleLoggerContextFactory"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jar() -> Path:
    """Anserini and all it needs; downloaded once."""
    if not shutil.which("javac"):  # a runtime alone cannot run a source file
        pytest.skip("needs a JDK")
    folder = KEPT / "java"
    kept = folder / f"{PYSERINI}.jar"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", PYSERINI]
        done = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"pip download {PYSERINI}: {done.stderr.strip().splitlines()[-1]}")
        (archive,) = folder.glob("pyserini-*.tar.gz")
        _extract(archive, "-fatjar.jar", kept)
        archive.unlink()
    return kept


def _extract(archive: Path, ending: str, to: Path) -> None:
    with tarfile.open(archive) as members:
        (name,) = (member.name for member in members if member.name.endswith(ending))
        inside = members.extractfile(name)
        assert inside is not None
        with inside, (beside := to.with_suffix(".part")).open("wb") as stream:
            shutil.copyfileobj(inside, stream)
    beside.replace(to)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_java_gives_the_vectors_of_encode(
    jar: Path, gives_the_vectors: Encode, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJL_CACHE_DIR", str(KEPT / "java"))  # where it unpacks the tokenizer's library
    command = ["java", LOG_TO_STDERR, "-cp", str(jar), str(EXAMPLES / "java" / "Encode.java")]
    gives_the_vectors(command, variant)


def test_the_build_file_names_the_versions_that_were_run(jar: Path) -> None:
    pom = (EXAMPLES / "java" / "pom.xml").read_text(encoding="utf-8")
    _, *pinned = re.findall(r"<version>([\d.]+)</version>", pom)  # the first is that of the example itself
    with zipfile.ZipFile(jar) as archive:
        onnxruntime = archive.read("META-INF/maven/com.microsoft.onnxruntime/onnxruntime/pom.xml").decode()
        tokenizers = archive.read("native/lib/tokenizers.properties").decode()
        jackson = archive.read("META-INF/maven/com.fasterxml.jackson.core/jackson-databind/pom.properties").decode()
    assert pinned == [
        *re.findall(r"<version>(.+)</version>", onnxruntime)[:1],
        *re.findall(r"^version=[\d.]+-(.+)$", tokenizers, re.MULTILINE),  # that of the Rust library, then DJL's
        *re.findall(r"^version=(.+)$", jackson, re.MULTILINE),
    ]
