"""The simulation of many cores: the kernels' own rules on a machine whose numbers are known."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import PROJECT
from benchmarks.cores import __main__ as command
from benchmarks.cores import play

TOOLS = ("cmake", "ninja", "c++")
pytestmark = [
    pytest.mark.slow,  # compiles the kernels
    pytest.mark.skipif(platform.system() != "Linux", reason="wraps functions as GNU's linker does"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"),
]

SMALL = play.BASE | {"d_model": 256, "d_ff": 512, "num_heads": 4, "num_layers": 2, "vocab_size": 99}
SMALL |= {"dense": 0, "embedding_dim": 256}
BYTES = 2 * (256 * 3 * 256 + 256 * 256 + 2 * 256 * 512)  # of weights


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly() -> Iterator[None]:
    """CMake takes these where it is told nothing else: what is measured here is compared with itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMAKE_BUILD_TYPE", "None")
        patch.setenv("CXXFLAGS", "-O1")
        yield


@pytest.fixture(scope="module")
def playing() -> Iterator[play.Player]:
    with play.player(PROJECT / "kernels", "scalar", SMALL) as found:
        yield found


def seconds(playing: play.Player, threads: int, texts: list[int], **numbers: float) -> float:
    playing.machine({"rate": 1, **numbers})  # so slow that every thread is worth its start
    found: dict[str, Any] = playing.ask("play", threads, *texts)
    assert found["threads"] == threads
    return float(found["seconds"])


def test_without_costs_of_their_own_cores_share_the_work(playing: play.Player) -> None:
    for threads, texts in ((1, [40]), (4, [40]), (1, [40] * 8), (4, [40] * 8)):
        playing.ask("measure", threads, 1, *texts)  # medians: another process may take the core from a piece
    one = seconds(playing, 1, [40] * 8)
    assert seconds(playing, 4, [40] * 8) == pytest.approx(one / 4, rel=0.5)  # two texts each
    assert seconds(playing, 4, [40]) < seconds(playing, 1, [40])
    assert seconds(playing, 4, [40]) == seconds(playing, 4, [40])


def test_memory_bounds_them(playing: play.Player) -> None:
    playing.ask("measure", 4, 0, 16)
    slow = 1e5  # bytes a second: nothing else counts
    streamed = BYTES / slow
    assert seconds(playing, 4, [16], socket_bandwidth=slow) == pytest.approx(streamed, rel=0.05)
    assert seconds(playing, 4, [16], cluster=2, cluster_bandwidth=slow) == pytest.approx(streamed / 2, rel=0.05)
    assert seconds(playing, 4, [16], sockets=2, socket_bandwidth=slow) == pytest.approx(streamed / 2, rel=0.05)
    assert seconds(playing, 4, [16], sockets=2, link_bandwidth=slow) == pytest.approx(streamed / 2, rel=0.05)
    assert seconds(playing, 4, [16], core_bandwidth=slow) == pytest.approx(streamed / 4, rel=0.2)


def test_a_core_keeps_its_slice_if_it_fits(playing: play.Player) -> None:
    playing.ask("measure", 4, 0, 16)
    slow = 1e5
    assert seconds(playing, 4, [16], socket_bandwidth=slow, cache=BYTES / 2) < 0.1 * BYTES / slow
    assert seconds(playing, 4, [16], socket_bandwidth=slow, cache=BYTES / 8) > 0.5 * BYTES / slow


def test_threads_are_started_one_after_the_other(playing: play.Player) -> None:
    playing.ask("measure", 4, 0, *[8] * 4)
    quick = seconds(playing, 4, [8] * 4)
    assert seconds(playing, 4, [8] * 4, start=1.0) == pytest.approx(3 + quick, rel=0.3)


def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "cores-base-here.json", tmp_path / "kernels.md"
    page.write_text("<!-- cores:begin -->\n<!-- cores:end -->\n")
    kernels = str(PROJECT / "kernels")
    options = "--isa scalar --layers 1 --shapes 1x16,2xmixed --cores 2,4x2 --seconds 0 --assume link_bandwidth=1e9"
    arguments = [*options.split(), "--before", kernels, "--out", str(out), "--docs", str(page)]
    assert command.main(arguments) == 0, capsys.readouterr().err
    found = json.loads(out.read_text())
    assert found["assumed"]["link_bandwidth"] == 1e9
    assert found["check"]["1x16"]["1"]["simulated"] > 0
    for name in ("before", "now"):
        assert set(found["predicted"][name]) == {"2", "4x2"}
        assert found["predicted"][name]["4x2"]["2xmixed"]["kept"] > 0
    assert "| 1x16, before | " in page.read_text()
    assert "| ms, threads | " in page.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [("--shapes 1by16", "1by16"), ("--assume speed=1", "speed"), ("--cores many", "many")],
)
def test_a_mistake_is_said(options: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--isa", "scalar", *options.split(), "--out", str(tmp_path / "x.json")]
    assert command.main(arguments) == 1
    assert said in capsys.readouterr().err
