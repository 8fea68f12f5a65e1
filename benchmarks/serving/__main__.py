"""What a server costs and brings: `instructor-onnx serve` against `encode()` and sentence-transformers behind FastAPI.

    instructor-onnx export checkpoints/instructor-mini demo-bundle
    python -m benchmarks.serving demo-bundle --checkpoint checkpoints/instructor-mini --rival-python ENV/bin/python
    python -m benchmarks.serving benchmarks/results/serving-X.json --readme docs/benchmarks.md       # only the table

1, 8 and 32 clients, each sending one text under an instruction after another, as fast as it is answered. Timed: from
sending a request to having its whole answer, JSON written but not parsed; of `encode()`, called with one row by as
many threads: the call. Not timed: loading, warming up. The clients run on the same cores as what they ask. All
subjects are loaded at once and take turns; the figures are medians over the rounds.

ENV is an environment with sentence-transformers, fastapi, uvicorn, httptools and uvloop (`rival.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from instructor_onnx import INSTRUCTOR, Manifest

from benchmarks.common import commands, machine, markdown, results
from benchmarks.common.server import PACKAGES, post, read_rows, started

RIVAL = Path(__file__).with_name("rival.py")
CLIENTS = (1, 8, 32)

Latencies = list[float]  # seconds
Subject = Callable[[int, float], Latencies]  # clients, seconds -> what each request took


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run, httpx.HTTPError)


def _run(options: argparse.Namespace) -> int:
    path = Path(options.subject) if options.subject.endswith(".json") else measure(options)
    text = table(results.read(path, "machine", "figures"))
    sys.stdout.write(text + "\n")
    if options.readme:
        markdown.rewrite_block(options.readme, text, "serving")
    return 0


def measure(options: argparse.Namespace) -> Path:
    """Start everything, let it take turns, and write the results file."""
    manifest = Manifest.read(Path(options.subject))
    out = results.own_file("serving", manifest.model.name, options.out)
    rows = read_rows()
    expected = INSTRUCTOR(options.subject, variant=next(iter(manifest.variants)), device="cpu").encode(rows)
    with contextlib.ExitStack() as stack:
        subjects: dict[str, Subject] = {}
        cosines: dict[str, float] = {}
        for variant in manifest.variants:
            model = INSTRUCTOR(options.subject, variant=variant, device="cpu")
            subjects[f"encode(), {variant}"] = _direct(model, rows)
            command = [sys.executable, "-m", "instructor_onnx", "serve", options.subject, "--variant", variant]
            url = stack.enter_context(started([*command, "--device", "cpu"])).url
            bodies = [{"input": text, "instruction": instruction} for instruction, text in rows]
            name = f"serve, {variant}"
            subjects[name] = _http(url, "/v1/embeddings", bodies)
            answers = [httpx.post(f"{url}/v1/embeddings", json=body).json() for body in bodies]
            cosines[name] = _cosine([answer["data"][0]["embedding"] for answer in answers], expected)
        rival_versions: dict[str, str] = {}
        if options.rival_python:
            command = [options.rival_python, str(RIVAL), str(options.checkpoint)]
            url = stack.enter_context(started(command, "/versions")).url
            bodies = [{"text": text, "instruction": instruction} for instruction, text in rows]
            name = "sentence-transformers + FastAPI"
            subjects[name] = _http(url, "/embed", bodies)
            cosines[name] = _cosine([httpx.post(f"{url}/embed", json=body).json() for body in bodies], expected)
            rival_versions = httpx.get(f"{url}/versions").json()
        busy = round(os.getloadavg()[0], 1)
        figures = _take_turns(subjects, options.rounds, options.seconds)
    found = {
        "date": results.today(),
        "model": manifest.model.name,
        "machine": machine.facts(),
        "load_average_before": busy,  # processes that ran or wanted to, before the first measurement
        "versions": machine.versions(PACKAGES),
        "rival_versions": rival_versions,
        "texts": len(rows),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "lowest_cosine": cosines,  # of an answer to the vector of the bundle's first variant
        "figures": figures,
    }
    results.write(out, found)
    return out


def table(found: dict[str, Any]) -> str:
    """The results in Markdown."""
    figures: dict[str, dict[str, dict[str, Any]]] = found["figures"]
    clients = list(next(iter(figures.values())))
    header = ["", *(f"{count} client{'s' * (count != '1')}: requests/s, p50 / p99 ms" for count in clients)]
    lines = []
    for subject, by_clients in figures.items():
        cells = (
            f"{at['requests_per_s']:,.0f}, {at['p50_ms']:.1f} / {at['p99_ms']:.1f}"
            for at in (by_clients[count] for count in clients)
        )
        lines.append([subject, *cells])
    libraries = {**found["versions"], **{name: v for name, v in found["rival_versions"].items() if name != "fastapi"}}
    heading = (
        f"{found['model']}, one text a request, by `python -m benchmarks.serving` on {found['date']} "
        f"({found['machine']['cpu']}, {found['machine']['cores']} cores, clients included; "
        f"{', '.join(f'{name} {version}' for name, version in libraries.items())}). "
        f"Medians of {found['rounds']} rounds in turn; load average before the first: {found['load_average_before']}."
    )
    return f"{heading}\n\n{markdown.table(header, lines)}"


def _take_turns(subjects: dict[str, Subject], rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """subject -> clients -> medians over the rounds, and each round's own."""
    each: dict[tuple[str, int], list[dict[str, float]]] = {}
    for ask in subjects.values():
        ask(max(CLIENTS), 1.0)  # warm-up
    for turn, clients, (name, ask) in itertools.product(range(rounds), CLIENTS, subjects.items()):
        latencies = np.array(ask(clients, seconds))
        p50, p99 = np.percentile(latencies, [50, 99]) * 1000
        round_figures = {"requests_per_s": len(latencies) / seconds, "p50_ms": float(p50), "p99_ms": float(p99)}
        each.setdefault((name, clients), []).append({key: round(value, 3) for key, value in round_figures.items()})
        sys.stderr.write(f"round {turn + 1}: {name}, {clients} clients: {len(latencies) / seconds:,.0f} requests/s\n")
    figures: dict[str, dict[str, Any]] = {name: {} for name in subjects}
    for (name, clients), measured in each.items():
        medians = {key: statistics.median(figure[key] for figure in measured) for key in measured[0]}
        figures[name][str(clients)] = {**medians, "each": measured}
    return figures


def _direct(model: INSTRUCTOR, rows: list[tuple[str, str]]) -> Subject:
    """Threads that call `encode()`."""

    def run(clients: int, seconds: float) -> Latencies:
        latencies: Latencies = []
        end = time.perf_counter() + seconds

        def client(first: int) -> None:
            for row in itertools.islice(itertools.cycle(rows), first, None):
                if (started := time.perf_counter()) >= end:
                    return
                model.encode([row])
                latencies.append(time.perf_counter() - started)

        threads = [threading.Thread(target=client, args=(index,)) for index in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return latencies

    return run


def _http(url: str, path: str, bodies: list[dict[str, str]]) -> Subject:
    """Clients with a connection each; bare asyncio, as a client library would cost more than the server."""
    host, port = url.removeprefix("http://").split(":")
    requests = [post(path, json.dumps(body).encode()) for body in bodies]

    async def client(first: int, end: float, latencies: Latencies) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for request in itertools.islice(itertools.cycle(requests), first, None):
            if (started := time.perf_counter()) >= end:
                break
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{url}{path}: answered {head.decode()}")
            length = re.search(rb"content-length: (\d+)", head)
            if length is None:
                raise RuntimeError(f"{url}{path}: answered without a length")
            await reader.readexactly(int(length[1]))
            latencies.append(time.perf_counter() - started)
        writer.close()
        await writer.wait_closed()

    async def everyone(clients: int, seconds: float) -> Latencies:
        latencies: Latencies = []
        end = time.perf_counter() + seconds
        await asyncio.gather(*(client(index, end, latencies) for index in range(clients)))
        return latencies

    return lambda clients, seconds: asyncio.run(everyone(clients, seconds))


def _cosine(vectors: Any, expected: np.ndarray[Any, Any]) -> float:
    """The lowest one; all are of unit length."""
    return round(float((np.array(vectors) * expected).sum(axis=1).min()), 6)


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("serving", __doc__)
    parser.add_argument("subject", metavar="BUNDLE|RESULTS.json", help="a bundle's folder, or results to show again")
    parser.add_argument("--checkpoint", type=Path, help="the folder it was exported from, for the rival")
    parser.add_argument("--rival-python", metavar="ENV/bin/python", help="interpreter of the rival's environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    commands.add_out(parser, "serving-<model>")
    commands.add_page(parser, "--readme", "serving")
    return parser


if __name__ == "__main__":
    sys.exit(main())
