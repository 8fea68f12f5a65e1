"""The run: every rival checked, tuned, timed in turns. Each measurement is appended to a journal as it is made."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
from instructor_onnx_export.verify import cosines
from tqdm import tqdm

from benchmarks.common import limits
from benchmarks.common.journal import Journal
from benchmarks.compare import environments
from benchmarks.compare.processes import Process, RivalFailed
from benchmarks.compare.report import QUIET
from benchmarks.compare.rivals import TORCH_FP32, Job, Rival
from benchmarks.compare.work import Work

# Of one round of a query or a shape: calls until the seconds or the number is reached.
CALLS = {"query": (0.5, 25), "shape": (0.3, 5)}
TUNE_SECONDS = 3  # of trying one batching: a second call if the first took less
LONGEST_CALL = 60  # seconds: a call that would take longer, by the rows tuned on, is left out
SLOW = 6.0  # a rival this many times slower than torch fp32 is timed in the first round of a work only


@dataclass(frozen=True)
class Plan:
    """How much is timed."""

    rounds: int  # of every query and shape
    cold_rounds: int  # new processes a rival
    mixed_slices: int  # slices of the mixed set, each timed once
    time_budget: float  # seconds after which no new round of the mixed set begins
    tune: bool  # try each rival's batching
    batching: dict[str, int]  # by rival, where it is not tried; what is not named keeps its default


@dataclass(frozen=True)
class Run:
    """Everything a measurement needs."""

    journal: Journal
    work: list[Work]
    work_file: Path
    job: Job  # what all rivals' jobs have in common
    envs: Path
    plan: Plan

    def job_of(self, rival: Rival) -> Job:
        folder = self.job.folder / rival.name.replace(" ", "-").replace(",", "")
        return replace(self.job, folder=folder, option=rival.option, engine=rival.engine)

    def start(self, rival: Rival, *, prepare: bool = False) -> Process:
        python = environments.interpreter(rival.environment, self.envs)
        return Process(rival, self.job_of(rival), python, self.work_file, prepare=prepare)


def measure(run: Run, rivals: Sequence[Rival]) -> None:
    """Everything that is not in the journal yet. A rival that fails is noted there, and the rest goes on."""
    rivals = prepared(run, rivals)
    _cold_starts(run, rivals)
    processes: dict[str, Process] = {}
    try:
        for rival in tqdm(rivals, desc="load, check, tune", unit="rival"):
            _load(run, rival, processes)
        _rounds(run, processes)
        for name, process in processes.items():
            if not run.journal.of("peak", name):
                run.journal.add("peak", name, bytes=process.ask("memory")["peak"])
    finally:
        for process in processes.values():
            process.close()


def prepared(run: Run, rivals: Sequence[Rival]) -> list[Rival]:
    """Make environments and convert weights, one after another, each in a process that ends; those that could be."""
    calibration = json.dumps([row for item in run.work if item.kind == "tune" for row in item.rows])
    ready = []
    for rival in tqdm(rivals, desc="prepare", unit="rival"):
        folder = run.job_of(rival).folder
        done = folder / "prepared"
        try:
            environments.interpreter(rival.environment, run.envs)
            if rival.prepared and not done.exists():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "calibration.json").write_text(calibration, encoding="utf-8")
                process = run.start(rival, prepare=True)
                try:
                    process.wait()
                finally:
                    process.close()
                done.touch()
        except RivalFailed as failure:
            run.journal.add("failed", rival.name, reason=str(failure))
        else:
            ready.append(rival)
    return ready


def _cold_starts(run: Run, rivals: Sequence[Rival]) -> None:
    """From the start of a process to its first vector, and its memory then; alternating."""
    failed = set()
    for index in tqdm(range(run.plan.cold_rounds), desc="cold start", unit="round"):
        for rival in rivals:
            if rival.name in failed or len(run.journal.of("cold", rival.name)) > index:
                continue
            process = run.start(rival)
            try:
                process.wait()
                seconds = time.perf_counter() - process.started
                resident = process.ask("memory")["resident"]
                run.journal.add("cold", rival.name, round=index, seconds=seconds, resident=resident)
            except RivalFailed:
                failed.add(rival.name)  # `_load` says why
            finally:
                process.close()


def _load(run: Run, rival: Rival, processes: dict[str, Process]) -> None:
    """Start the process that is timed: facts, the comparison with torch, its best batching."""
    journal = run.journal
    processes[rival.name] = process = run.start(rival)
    try:
        process.wait()
        process.pause()
        facts = process.ask("facts")
        if not journal.of("facts", rival.name):
            journal.add("facts", rival.name, **facts, **process.ask("installed", packages=list(rival.packages)))
        if not journal.of("check", rival.name):
            vectors = process.ask("encode", work="check")["vectors"]
            expected = vectors if rival.name == TORCH_FP32 else journal.of("check", TORCH_FP32)[0]["vectors"]
            similarity = cosines(np.asarray(vectors), np.asarray(expected)).tolist()
            journal.add("check", rival.name, vectors=vectors, cosines=similarity)
        if not journal.of("choice", rival.name):
            tried = _tried(process, facts["choices"], journal) if run.plan.tune else {}
            best = min(tried, key=tried.__getitem__) if tried else run.plan.batching.get(rival.name)
            journal.add("choice", rival.name, batching=facts["batching"], value=best, tried=tried)
        if (value := journal.of("choice", rival.name)[0]["value"]) is not None:
            process.ask("choose", value=value)
    except RivalFailed as failure:
        del processes[rival.name]
        process.close()
        if rival.name == TORCH_FP32:
            raise
        journal.add("failed", rival.name, reason=str(failure))


def _tried(process: Process, values: Sequence[int], journal: Journal) -> dict[int, float]:
    """Seconds for the rows to tune on, by batching; the better of two, as nothing makes a run faster than it is."""
    found: dict[int, float] = {}
    reference = [min(entry["tried"].values()) for entry in journal.of("choice", TORCH_FP32) if entry["tried"]]
    for value in values:
        process.ask("choose", value=value)
        found[value] = min(process.ask("time", work="tune", seconds=TUNE_SECONDS, most=2)["seconds"])
        if reference and found[value] > SLOW * reference[0]:
            break
    return found


def busy() -> float:
    """The share of all CPUs that others keep busy now, 0 to 1, over a second in which this run does nothing."""
    return float(psutil.cpu_percent(interval=1)) / 100


def _rounds(run: Run, processes: dict[str, Process]) -> None:
    """Every work in turns: a round is one measurement of each rival, the order turned by one each round."""
    for item in run.work:
        if item.kind in CALLS or item.name == "mixed 0":
            run.journal.add("busy", "", work=item.name, share=(share := busy()))
            run.journal.add("limits", "", **limits.measure(run.job.threads))
            if share > QUIET:
                tqdm.write(
                    f"{item.name}: others keep {share:.0%} of this machine busy. The figures will not be worth much."
                )
        if item.kind in CALLS:
            for index in tqdm(range(run.plan.rounds), desc=item.name, unit="round"):
                _round(run, processes, item.name, item, index, *CALLS[item.kind])
    slices = [item for item in run.work if item.kind == "mixed"][: run.plan.mixed_slices]
    started = time.monotonic()
    for index, item in enumerate(tqdm(slices, desc="mixed", unit="slice")):
        if time.monotonic() - started > run.plan.time_budget:
            tqdm.write(f"mixed: {index} of {len(slices)} slices, then the time budget was spent")
            break
        _round(run, processes, "mixed", item, index, 0, 1)


def _round(
    run: Run, processes: dict[str, Process], work: str, item: Work, index: int, seconds: float, most: int
) -> None:
    journal = run.journal
    names = list(processes)
    for name in names[index % len(names) :] + names[: index % len(names)]:
        done = journal.of("time", name, work=work)
        if any(entry["round"] == index for entry in done):
            continue
        reference = journal.of("time", TORCH_FP32, work=work)
        if _expected_seconds(run, name, item) > LONGEST_CALL:
            continue
        if done and reference and min(done[0]["seconds"]) > SLOW * min(reference[0]["seconds"]):
            continue
        try:
            taken = processes[name].ask("time", work=item.name, seconds=seconds, most=most)["seconds"]
        except RivalFailed as failure:
            journal.add("failed", name, reason=str(failure))
            processes.pop(name).close()
        else:
            journal.add("time", name, work=work, round=index, tokens=item.tokens, seconds=taken)


def _expected_seconds(run: Run, name: str, item: Work) -> float:
    """Of one call, from the rows the rival was tuned on; 0 where it was not."""
    tried = run.journal.of("choice", name)[0]["tried"]
    tuned_on = next(work.tokens for work in run.work if work.kind == "tune")
    return float(min(tried.values()) / tuned_on * item.tokens) if tried else 0.0
