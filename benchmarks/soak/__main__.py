"""A server under everything at once, for as long as one likes: does it stay right, and as small as it was?

    python -m benchmarks.soak BUNDLE --minutes 30 --out
    python -m benchmarks.soak benchmarks/results/soak-X.json --readme docs/benchmarks.md       # only the table

`instructor-onnx serve` (int8) is a process of its own, and the clients of `clients.py` are another on the same cores:
single queries, batches, long texts, token ids; clients that are slow, stall, do not read, leave or send nonsense. Every
vector is compared with that of `encode()`, bit by bit, every refusal with what it has to be. The server's memory,
descriptors and threads are watched, and /health is asked all the time. At the end it is told to stop under load: it has
to answer what it has accepted, and exit with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from instructor_onnx import INSTRUCTOR, Manifest

from benchmarks.common import commands, machine, markdown, results
from benchmarks.common.server import PACKAGES, read_rows, started
from benchmarks.soak.clients import BODY_TIMEOUT, CLIENTS, Pool, World, drive, large_batch

LINES = 10  # of the table
VARIANT = "int8"
LAST_WAVE = 8  # large requests that are being answered when the server is told to stop
# Requests answered one after another, in which the server has accepted and read what others sent before them, however
# slow the machine is.
ROUND_TRIPS = 5
MISTAKES_KEPT = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 after an error that was said on stderr, or a mistake of the server."""
    return commands.run(_parser(), arguments, _run, httpx.HTTPError)


def _run(options: argparse.Namespace) -> int:
    if options.subject.endswith(".json"):
        found = results.read(Path(options.subject), "lines", "mistakes")
    else:
        out = _out(options)
        found = soak(options.subject, options.minutes * 60, options.seed)
        if out is not None:
            results.write(out, found)
    text = table(found)
    sys.stdout.write(text + "\n")
    if options.readme:
        markdown.rewrite_block(options.readme, text, "soak")
    return int(bool(found["mistakes"]))


def _out(options: argparse.Namespace) -> Path | None:
    """Where the results go; none where they are not asked for."""
    if options.out is None:
        return None
    named = None if options.out == results.RESULTS else options.out
    return results.own_file("soak", Manifest.read(Path(options.subject)).model.name, named)


def soak(bundle: str, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Start the server, let everybody at it, stop it under load; what was found."""
    model = INSTRUCTOR(bundle, variant=VARIANT, device="cpu")
    rows = read_rows()
    pool = Pool.of(model, rows)
    command = [sys.executable, "-m", "instructor_onnx", "serve", bundle, "--variant", VARIANT, "--device", "cpu"]
    with started([*command, "--body-timeout", str(BODY_TIMEOUT)]) as server:
        world = World("127.0.0.1", httpx.URL(server.url).port or 80, pool)
        lines, end = asyncio.run(_everyone(world, server.process, server.url, seconds, seed))
        said = [line for line in server.said().splitlines() if re.search("ERROR|Traceback", line)]
    mistakes = [*world.mistakes, *(f"the server's log: {line}" for line in said)]
    if end["exit_status"] != 0:
        mistakes.append(f"the server ended with {end['exit_status']}")
    return {
        "date": results.today(),
        "model": model.manifest.model.name,
        "variant": VARIANT,
        "engine": model.engine_name,
        "machine": machine.facts(),
        "versions": machine.versions(PACKAGES),
        "seconds": seconds,
        "clients": {name: count for name, (_, count) in CLIENTS.items()},
        "lines": lines,
        "counts": {name: dict(counts) for name, counts in world.counts.items()},
        "end": end,
        "mistakes": mistakes[:MISTAKES_KEPT],
        "number_of_mistakes": len(mistakes),
    }


async def _everyone(
    world: World, server: subprocess.Popen[bytes], url: str, seconds: float, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The clients and the watching, then the end: the lines of the table, and how the server stopped."""
    clients = [
        asyncio.create_task(drive(name, client, world, random.Random(f"{seed} {name} {number}")))
        for name, (client, count) in CLIENTS.items()
        for number in range(count)
    ]
    health: list[float] = []  # seconds, since the last line
    lines = []
    started = time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        watching = asyncio.create_task(_watch_health(http, health, world))
        for number in range(1, LINES + 1):
            end = started + seconds * number / LINES
            used = []
            while (left := end - time.monotonic()) > 0:
                if server.poll() is not None:
                    raise RuntimeError(f"the server ended with {server.returncode}, of its own accord")
                used.append(_usage(server.pid))
                await asyncio.sleep(min(1.0, left))
            lines.append(_line(number * seconds / LINES, seconds / LINES, used or [_usage(server.pid)], health, world))
        wave = [
            asyncio.create_task(drive("at the end", large_batch, world, random.Random(f"{seed} {number}")))
            for number in range(LAST_WAVE)
        ]
        while await _in_progress(http) < LAST_WAVE:
            await asyncio.sleep(0.005)
        before = time.monotonic()
        for _ in range(ROUND_TRIPS):
            await _in_progress(http)
        world.stopping, world.accepted_before, told_to_stop = True, before, time.monotonic()
        server.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients, *wave)
        status = await asyncio.to_thread(server.wait)
        watching.cancel()
    seconds_to_stop = round(time.monotonic() - told_to_stop, 1)
    return lines, {"exit_status": status, "seconds": seconds_to_stop}


async def _watch_health(http: httpx.AsyncClient, health: list[float], world: World) -> None:
    while not world.stopping:
        started = world.health_asked = time.perf_counter()
        try:
            answer = await http.get("/health")
            if answer.status_code != 200:
                world.mistakes.append(f"/health: {answer.status_code}")
        except httpx.HTTPError as error:
            if not world.stopping:
                world.mistakes.append(f"/health: {error!r}")
        health.append(time.perf_counter() - started)
        world.health_asked = None
        await asyncio.sleep(0.2)


async def _in_progress(http: httpx.AsyncClient) -> float:
    text = (await http.get("/metrics")).text
    found = re.search(r"^instructor_requests_in_progress (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _line(
    until: float, seconds: float, used: list[dict[str, int]], health: list[float], world: World
) -> dict[str, Any]:
    """One line of the table; what it is made of begins anew."""
    waiting = [] if world.health_asked is None else [time.perf_counter() - world.health_asked]
    p50, p99 = np.percentile(world.latencies, [50, 99]) * 1000 if world.latencies else (None, None)
    line = {
        "until_s": until,
        "requests_per_s": round(world.answered / seconds, 1),
        "p50_ms": p50 and round(float(p50), 1),
        "p99_ms": p99 and round(float(p99), 1),
        "health_worst_ms": round(max([*health, *waiting], default=0.0) * 1000, 1),
        "mistakes": len(world.mistakes),
        **{name: max(sample[name] for sample in used) for name in used[0]},
    }
    world.answered = 0
    world.latencies.clear()
    health.clear()
    return line


def _usage(pid: int) -> dict[str, int]:
    """Memory in MB, descriptors and threads of a process."""
    process = psutil.Process(pid)
    return {
        "memory_mb": process.memory_info().rss >> 20,
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
    }


def table(found: dict[str, Any]) -> str:
    """The results in Markdown."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "until": lambda line: (
            f"{line['until_s'] / 60:,.0f} min" if line["until_s"] % 60 == 0 else f"{line['until_s']:g} s"
        ),
        "answers/s": lambda line: f"{line['requests_per_s']:,.0f}",
        "one query, p50 / p99 ms": lambda line: (
            "none" if line["p50_ms"] is None else f"{line['p50_ms']:,.0f} / {line['p99_ms']:,.0f}"
        ),
        "/health, worst ms": lambda line: f"{line['health_worst_ms']:,.0f}",
        "memory MB": lambda line: f"{line['memory_mb']:,}",
        "descriptors": lambda line: f"{line['descriptors']}",
        "threads": lambda line: f"{line['threads']}",
        "mistakes": lambda line: f"{line['mistakes']}",
    }
    lines = [[cell(line) for cell in columns.values()] for line in found["lines"]]
    counts = "; ".join(
        f"{name}: {', '.join(f'{times:,} {outcome}' for outcome, times in sorted(outcomes.items()))}"
        for name, outcomes in found["counts"].items()
    )
    heading = (
        f"{found['model']}, {found['variant']} on {found['engine']}, by `python -m benchmarks.soak` on {found['date']} "
        f"({found['machine']['cpu']}, {found['machine']['cores']} cores, {sum(found['clients'].values())} clients "
        f"included). Told to stop under load, the server exited with {found['end']['exit_status']} after "
        f"{found['end']['seconds']} s. Mistakes: {found['number_of_mistakes']}."
    )
    rows = markdown.table(list(columns), lines)
    return "\n\n".join([heading, rows, f"What became of their requests: {counts}.", *found["mistakes"]])


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("soak", __doc__)
    parser.add_argument("subject", metavar="BUNDLE|RESULTS.json", help="a bundle with int8, or results to show again")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0, help="of what the clients choose")
    parser.add_argument(
        "--out",
        type=Path,
        nargs="?",
        const=results.RESULTS,
        metavar="FILE",
        help="write the results; without a FILE to benchmarks/results/soak-<model>-<processor>.json",
    )
    commands.add_page(parser, "--readme", "soak")
    return parser


if __name__ == "__main__":
    sys.exit(main())
