"""The Dockerfile, as far as a machine without Docker can carry it out."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx.loading import EMBEDDED

from tests import fake_hub
from tests.server.conftest import wait_until

Float32 = npt.NDArray[np.float32]

PROJECT = Path(__file__).parents[2]
HOME = "/opt/instructor-onnx"  # in the image
TEXT = "3D ActionSLAM"


def _stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's instructions and their arguments, by stage."""
    text = re.sub(r"^#.*\n", "", (PROJECT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[list[tuple[str, str]]] = [[]]
    for line in text.replace("\\\n", " ").splitlines():
        if line:
            name, _, rest = line.partition(" ")
            stages += [[]] if name == "FROM" else []
            stages[-1].append((name, rest))
    return stages


_, BUILD, IMAGE = _stages()
(ENTRYPOINT,) = (json.loads(rest) for name, rest in IMAGE if name == "ENTRYPOINT")
(HEALTHCHECK,) = (json.loads(rest.partition(" CMD ")[2]) for name, rest in IMAGE if name == "HEALTHCHECK")
(STOPSIGNAL,) = (signal.Signals[rest] for name, rest in IMAGE if name == "STOPSIGNAL")
ENV = dict(pair.split("=", 1) for name, rest in IMAGE if name == "ENV" for pair in shlex.split(rest))


def environment(home: Path, port: int) -> dict[str, str]:
    """What a process of the image sees, with `-e PORT=port`."""
    path = ENV["PATH"].replace(HOME, str(home)).replace("$PATH", "/usr/bin:/bin")
    return ENV | {"PATH": path, "PORT": str(port)}


def is_healthy(environment: dict[str, str]) -> bool:
    return subprocess.run(HEALTHCHECK, env=environment, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ([], ["/bundle"]),
        (["--presets", "/bundle/presets.json"], ["/bundle", "--presets", "/bundle/presets.json"]),
        (["instructor-mini"], ["instructor-mini"]),
        (["my/bundle", "--preset", "query=A title: "], ["my/bundle", "--preset", "query=A title: "]),
    ],
)
def test_what_follows_the_images_name(given: list[str], served: list[str], tmp_path: Path) -> None:
    command = tmp_path / "bin" / "instructor-onnx"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"')
    command.chmod(0o755)
    said = subprocess.run(
        [*ENTRYPOINT, *given], env=environment(tmp_path, 9000), check=True, capture_output=True, text=True
    )
    assert said.stdout.splitlines() == ["serve", "--host", "0.0.0.0", *served, "--port", "9000"]


def test_the_health_check_asks_the_port_that_is_listened_on(shared_server: str) -> None:
    home = Path(sys.prefix)
    assert is_healthy(environment(home, httpx.URL(shared_server).port or 80))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not is_healthy(environment(home, silent.getsockname()[1]))


def test_the_image_exposes_its_port() -> None:
    assert ("EXPOSE", ENV["PORT"]) in IMAGE


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's HOME in a folder of its own, by what the Dockerfile runs after its `apt-get`."""
    root = tmp_path_factory.mktemp("image")
    pip = [sys.executable, "-m", "pip"]
    asked = subprocess.run([*pip, "download", "--no-deps", "--dest", root / "probe", "h11"], capture_output=True)
    if asked.returncode or not shutil.which("c++"):
        pytest.skip("needs a package index and a C++ compiler")
    sent = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    (root / "source").mkdir()
    for name in sent:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, root / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, root / "source")
    # what else pip is held to is for other tests
    places = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PIP_CONSTRAINT": ""}
    for name, command in BUILD:
        if name == "RUN" and not command.startswith("apt-get "):
            here = command.replace(HOME, f"{root}{HOME}").replace("/source", f"{root}/source")
            subprocess.run(here, shell=True, env=places, check=True)
    return Path(f"{root}{HOME}")


def served(home: Path, *given: str, **variables: str) -> tuple[Float32, str]:
    """The vector of TEXT from the image's server, which then is told to stop; and what it has logged."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    image = environment(home, port) | variables
    with subprocess.Popen([*ENTRYPOINT, *given], env=image, stderr=subprocess.PIPE, text=True) as server:
        try:
            wait_until(lambda: server.poll() is not None or is_healthy(image))
            assert server.poll() is None, server.communicate()[1]
            answer = httpx.post(f"http://127.0.0.1:{port}/embed", json={"inputs": TEXT}).json()
            server.send_signal(STOPSIGNAL)
            _, said = server.communicate()
        finally:
            server.kill()
    assert server.returncode == 0, said
    return np.array(answer, dtype=np.float32), said


@pytest.mark.slow
def test_the_image_serves_until_it_is_stopped(installed: Path) -> None:
    answer, said = served(installed, "instructor-mini")
    assert "engine='native " in said
    code = f"import instructor_onnx as i; print(i.INSTRUCTOR('instructor-mini').encode([{TEXT!r}]).tolist())"
    vectors = subprocess.run([installed / "bin" / "python", "-c", code], check=True, capture_output=True).stdout
    np.testing.assert_array_equal(answer, np.array(json.loads(vectors), dtype=np.float32))


@pytest.mark.slow
def test_the_image_serves_a_bundle_of_the_hub(installed: Path, tmp_path: Path) -> None:
    with fake_hub.serving() as hub:
        hub.publish("someone/mini", EMBEDDED["instructor-mini"])
        answer, _ = served(installed, "someone/mini", HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path))
    assert answer.shape == (1, 384)
