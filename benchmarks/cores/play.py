"""The run: kernels compiled with the clock, checked against this machine's cores, played on others."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instructor_onnx.engines import native
from instructor_onnx.engines.cpus import available_cpus

from benchmarks.common import machine, results
from benchmarks.common.texts import mixed_lengths

HERE = Path(__file__).parent
BASE = {  # the shape of instructor-base, in the order of schedule.cpp's arguments
    "d_model": 768,
    "d_ff": 3072,
    "d_kv": 64,
    "num_heads": 12,
    "num_layers": 12,
    "vocab_size": 32128,
    "embedding_dim": 768,
    "max_distance": 128,
    "gated": 0,
    "dense": 1,
}
CHECKED = ("1x16", "1x32", "1x64", "1x512", "8x64", "4x512", "64xmixed")
TURNS = 5
TRIES, RUNS = 20, 7  # turns at most, until so many quiet runs were seen
CLUSTER = 8
ASSUMED = {
    "socket_bandwidth": 400e9,  # DDR5, 12 channels of 5,600: three quarters of 538 GB/s
    "link_bandwidth": 200e9,  # both ways together
    "remote": 0.5,
    "far": 2.0,  # times a line's way within a socket
    "cache": 1.5 * 2**20,  # of the 2 MB of a second-level cache
}


class Player:
    """schedule.cpp, compiled with some kernels: a process that answers requests."""

    def __init__(self, kernels: Path, isa: str, shape: dict[str, int], folder: Path) -> None:
        for tool in ("cmake", "ninja"):
            if shutil.which(tool) is None:
                raise ValueError(f"needs {tool}, to compile the kernels with the simulation.")
        options = ["-S", str(HERE), "-B", str(folder), "-G", "Ninja", f"-DKERNELS={kernels.resolve()}"]
        for command in (["cmake", *options], ["ninja", "-C", str(folder), "schedule"]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        command = [str(folder / "schedule"), isa, *map(str, shape.values())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, request)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"schedule ended at: {' '.join(map(str, request))[:200]}")
        return json.loads(answer)

    def machine(self, numbers: dict[str, float]) -> None:
        self.ask("machine", *(part for number in numbers.items() for part in number))

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def player(kernels: Path, isa: str, shape: dict[str, int]) -> Iterator[Player]:
    with tempfile.TemporaryDirectory() as folder:
        opened = Player(kernels, isa, shape, Path(folder))
        try:
            yield opened
        finally:
            opened.close()


def measure(options: argparse.Namespace) -> Path:
    """Check, predict; what is done is written at once."""
    out = results.own_file("cores", "base", options.out)
    isa = options.isa or native.instruction_set()
    shape = BASE | {"num_layers": options.layers}
    assumed = ASSUMED | numbers(options.assume)
    texts = {text: lengths(text) for text in options.shapes}
    for cores in options.cores:
        cores_of(cores)
    found: dict[str, Any] = {
        "date": results.today(),
        "load": round(os.getloadavg()[0], 1),  # a busy machine's check is worth little
        "subject": {"model": "base", "machine": machine.facts(), "threads": available_cpus(), "shape": shape},
        "isa": isa,
        "assumed": assumed,
    }
    sources = {"now": options.kernels} | ({"before": options.before} if options.before else {})
    for name, kernels in sources.items():
        with player(kernels, isa, shape) as playing:
            if name == "now":
                found["here"] = here = told(options.here) or this_machine(playing)
                found["check"] = {}
                for text in texts:
                    if text in CHECKED:
                        found["check"][text] = check(playing, texts[text], here, options.seconds)
                        results.write(out, found)
                        say(f"{text}: {json.dumps(found['check'][text])}")
            for cores in options.cores:
                for text in texts:
                    predicted = predict(playing, texts[text], cores, here, assumed, options.seconds)
                    found.setdefault("predicted", {}).setdefault(name, {}).setdefault(cores, {})[text] = predicted
                    results.write(out, found)
                    say(f"{name}, {cores} cores, {text}: {json.dumps(predicted)}")
    return Path(out)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def numbers(pairs: list[str]) -> dict[str, float]:
    """NAME=NUMBER of the command line."""
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in ASSUMED:
            raise ValueError(f"--assume: found {name!r}, expected one of {', '.join(ASSUMED)}.")
        found[name] = float(value)
    return found


def cores_of(text: str) -> tuple[int, int]:
    """Cores and sockets: "64x2" are 128 cores."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise ValueError(f"cores: found {text!r}, expected CORES or CORESxSOCKETS.")
    sockets = int(match[2] or 1)
    return int(match[1]) * sockets, sockets


def lengths(text: str) -> list[int]:
    """Tokens of each text: "8x64", or "64xmixed", of the lengths that the other benchmarks call so."""
    match = re.fullmatch(r"(\d+)x(\d+|mixed)", text)
    if not match:
        raise ValueError(f"shape: found {text!r}, expected TEXTSxTOKENS or TEXTSxmixed.")
    texts, tokens = int(match[1]), match[2]
    if tokens == "mixed":
        return mixed_lengths()[:texts]
    return [int(tokens)] * texts


def told(path: Path | None) -> dict[str, float] | None:
    """What an earlier run of this program measured of this machine."""
    return dict(results.read(path, "here")["here"]) if path else None


def this_machine(playing: Player) -> dict[str, float]:
    """The best of some turns, as others' work only takes away."""
    found = [playing.ask("this") for _ in range(TURNS)]
    return {key: (max if key.endswith(("rate", "bandwidth")) else min)(turn[key] for turn in found) for key in found[0]}


def check(playing: Player, texts: list[int], here: dict[str, float], seconds: float) -> dict[str, Any]:
    """What one and two cores take, and what is simulated for them: milliseconds, the error."""
    playing.machine(machine_here(here))
    found = {}
    for threads in (1, 2):
        measured: list[float] = []
        for turn in range(TRIES):
            measured += playing.ask("real", threads, seconds / 2, *texts)
            playing.ask("measure", threads, seconds / 2, *texts)
            if turn >= TURNS and len(measured) >= RUNS:
                break
        simulated = 1e3 * playing.ask("play", threads, *texts)["seconds"]
        real = 1e3 * statistics.median(measured) if measured else None
        found[str(threads)] = {
            "measured": real and round(real, 3),
            "runs": len(measured),
            "simulated": round(simulated, 3),
            "error": real and round(simulated / real - 1, 3),
        }
    return found


def machine_here(here: dict[str, float]) -> dict[str, float]:
    names = ("core_bandwidth", "cluster_bandwidth", "share_bandwidth", "line", "scan", "start", "late", "end", "wake")
    return {name: here[name] for name in names}


def predict(
    playing: Player, texts: list[int], cores: str, here: dict[str, float], assumed: dict[str, float], seconds: float
) -> dict[str, Any]:
    """Milliseconds on "64x2": 64 cores in each of two sockets."""
    count, sockets = cores_of(cores)
    described = machine_here(here) | {"sockets": sockets, "cluster": CLUSTER}
    described |= {name: assumed[name] for name in ("socket_bandwidth", "link_bandwidth", "remote")}
    described |= {f"far_{name}": here[name] * assumed["far"] for name in ("line", "scan")}
    playing.ask("measure", count, seconds, *texts)
    found: dict[str, Any] = {}
    for name, cache in (("kept", assumed["cache"]), ("new", 0.0)):
        playing.machine(described | {"cache": cache})
        played = playing.ask("play", count, *texts)
        found |= {name: round(1e3 * played["seconds"], 3), "threads": played["threads"]}
        found[f"{name}, ms of thread 0"] = {stage: round(1e3 * spent, 4) for stage, spent in played["spent"].items()}
    return found
