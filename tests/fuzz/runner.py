"""Many cases: kinds and workers share the time; what they found is counted."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.kinds import KINDS
from tests.fuzz.verdict import OUTCOMES, Verdict
from tests.fuzz.worker import Limits, Worker

SEEDS_NAMED = 5  # of one cause


@dataclass
class Report:
    """What became of the cases of every kind."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)  # kind -> outcome -> cases
    findings: list[tuple[str, int, Verdict]] = field(default_factory=list)  # kind, seed

    def add(self, kind: str, seed: int, verdict: Verdict) -> None:
        """Count a case."""
        self.counts.setdefault(kind, Counter())[verdict.outcome] += 1
        if verdict.is_finding:
            self.findings.append((kind, seed, verdict))

    def merge(self, other: Report) -> None:
        """Take over what another worker has found."""
        for kind, counts in other.counts.items():
            self.counts.setdefault(kind, Counter()).update(counts)
        self.findings += other.findings

    def table(self) -> str:
        """The counts in Markdown."""
        lines = [["kind", "tried", *OUTCOMES], ["---", *["--:"] * (len(OUTCOMES) + 1)]]
        for kind, counts in self.counts.items():
            lines.append([kind, f"{counts.total():,}", *(f"{counts[outcome]:,}" for outcome in OUTCOMES)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def causes(self) -> str:
        """Each finding once, with a few of its seeds and how it is repeated; empty where there is none."""
        groups: dict[tuple[str, ...], list[tuple[int, Verdict]]] = {}
        for kind, seed, verdict in self.findings:
            what = verdict.message.partition(":")[0] if verdict.place else ""
            groups.setdefault((kind, verdict.outcome, verdict.place, what), []).append((seed, verdict))
        lines = []
        for (kind, outcome, place, _), cases in groups.items():
            seeds = ", ".join(str(seed) for seed, _ in cases[:SEEDS_NAMED])
            first, verdict = cases[0]
            lines.append(
                f"{kind}: {outcome} {place}, {len(cases)} cases, seeds {seeds}: {verdict.message[:300]!r}\n"
                f"    python -m tests.fuzz --kind {kind} --seed {first}"
            )
        return "\n".join(lines)


def fuzz(kinds: Sequence[str], seconds: float, *, first_seed: int, jobs: int, limits: Limits) -> Report:
    """Try cases for so long; every kind has an equal share of it, in every one of `jobs` workers at a time."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, ThreadPoolExecutor(jobs) as pool:
        share = seconds / len(kinds)

        def work(job: int) -> Report:
            own = Report()
            ordered = [*kinds[job % len(kinds) :], *kinds[: job % len(kinds)]]  # the slow starters not all at once
            for kind in ordered:
                seeds = itertools.count(first_seed + job, jobs)
                for seed, verdict in _tried(kind, seeds, share, Path(folder) / f"{kind}-{job}", limits):
                    own.add(kind, seed, verdict)
            return own

        for kind in kinds:
            report.counts[kind] = Counter()  # in this order
        for found in pool.map(work, range(jobs)):
            report.merge(found)
    return report


def repeat(kind: str, seed: int, limits: Limits, folder: Path) -> Verdict:
    """Try one case again; its files stay in `folder`."""
    worker = Worker(KINDS[kind][0], folder, limits)
    try:
        return worker.attempt(seed)
    finally:
        worker.close()


def _tried(
    kind: str, seeds: Iterator[int], seconds: float, folder: Path, limits: Limits
) -> Iterator[tuple[int, Verdict]]:
    """The cases of one worker's share of the time, its start included; at least one."""
    end = time.monotonic() + seconds
    worker = Worker(KINDS[kind][0], folder, limits)
    try:
        for seed in seeds:
            yield seed, worker.attempt(seed)
            if time.monotonic() >= end:
                return
    finally:
        worker.close()
