"""What follows from figures: limits, settings to take, and how far the figures can be trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from instructor_onnx.bench import conclusions
from instructor_onnx.bench.results import Latency, Load, Peak, Setting

from tests.runtime.bench.figures import MACHINE, QUIET, SPEED, measured, results


def test_the_default_is_kept_where_another_setting_is_hardly_faster() -> None:
    assert conclusions.best_budget(measured()).value == 1024
    assert conclusions.best_threads(measured()).value == 2
    faster = (Setting(512, 1.2 * SPEED, 0.0), Setting(1024, SPEED, 0.0))
    assert conclusions.best_budget(measured(budgets=faster)).value == 512


def test_fewer_threads_are_not_suggested_where_other_processes_may_be_why() -> None:
    quiet = (Setting(1, 1.5 * SPEED, 0.0), Setting(2, SPEED, 0.05))
    busy = (Setting(1, 1.5 * SPEED, 0.0), Setting(2, SPEED, 0.9))
    assert conclusions.best_threads(measured(threads=quiet)).value == 1
    assert conclusions.best_threads(measured(threads=busy)).value == 2
    said = " ".join(conclusions.remarks(results(measured(threads=busy))))
    assert "1 thread looked faster than 2, while other processes took 0.9 cores" in said
    assert "looked faster" not in " ".join(conclusions.remarks(results(measured(threads=quiet))))


def test_a_variant_is_held_against_the_peak_of_its_own_products() -> None:
    int8, fp32 = conclusions.limits(results(measured(), measured(variant="fp32", weight_type="float32")))
    assert int8.peak == "int8"
    assert int8.query_memory == pytest.approx(0.5)  # 100 MB in 10 ms, of 20 GB/s
    assert int8.query_products == pytest.approx(0.8)  # 16 tokens of 2e8 operations in 10 ms, of 4e11 a second
    assert int8.mixed_products == pytest.approx(0.5)
    assert int8.query_bound == "products"
    assert fp32.peak == "fp32"
    assert fp32.mixed_products == pytest.approx(2.0)


def test_what_a_variant_waits_for() -> None:
    slow_memory = replace(MACHINE, copy_bytes_per_second=1.1e10)
    (limit,) = conclusions.limits(results(machine=slow_memory))
    assert limit.query_bound == "memory"
    assert limit.mixed_bound == "overheads"
    (unknown,) = conclusions.limits(results(machine=replace(MACHINE, peaks=(Peak("fp32", 1e11, "numpy"),))))
    assert unknown.query_products is None
    assert unknown.mixed_bound == "not told"


def test_more_than_the_machine_can_do_is_explained() -> None:
    said = " ".join(conclusions.remarks(results(measured(flop_per_token=1e9))))
    assert "int8 native: more than the int8 peak" in said
    cached = replace(MACHINE, copy_bytes_per_second=1e9)
    assert "they stay in the caches" in " ".join(conclusions.remarks(results(machine=cached)))


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (QUIET, "The machine was quiet: other processes took 0.02 cores on average; load average before: 0.10."),
        (
            Load(1.4, 1.7, 0.0, 2.3),
            "The machine was busy: other processes took 1.4 cores on average, 1.7 in the busiest",
        ),
        (Load(0.0, 0.0, 0.5, None), "and the hypervisor gave away 0.5"),
        (Load(None, None, None, 1.0), "is not known here (load average before: 1.00): only Linux tells."),
        (Load(None, None, None, None), "is not known here: only Linux tells."),
    ],
)
def test_how_busy_the_machine_was_is_said(load: Load, said: str) -> None:
    assert said in conclusions.busy(load)
    assert conclusions.is_quiet(load) == (load is QUIET)


def test_the_recommendation_is_the_fastest_settings() -> None:
    budgets = (Setting(1024, 0.5 * SPEED, 0.0),)
    quick = measured(latency=(Latency(16, 5.0, 5.0, 5.0, 5, 0.0),), budgets=budgets, threads=(Setting(2, 1.0, 0.0),))
    steady = measured(variant="fp32", engine="onnxruntime", budgets=(Setting(2048, 2 * SPEED, 0.0),))
    single, many = map(str, conclusions.recommendations(results(steady, quick)))
    assert single == "INSTRUCTOR(..., variant='int8', engine='native', num_threads=2)"
    assert many == "INSTRUCTOR(..., variant='fp32', engine='onnxruntime', num_threads=2, token_budget=2048)"


def test_what_another_machine_would_give() -> None:
    vnni, cpus = conclusions.hints(results())
    assert "neither VNNI nor AMX" in vnni
    assert "2 of 4 logical CPUs" in cpus
    all_of_it = replace(MACHINE, logical_cpus=2, instruction_sets=("avx2", "avx512_vnni", "amx_int8"))
    assert list(conclusions.hints(results(machine=all_of_it))) == []


def test_one_of_a_thing_is_no_plural() -> None:
    assert [conclusions.count(number, "thread") for number in (1, 2, 1000)] == [
        "1 thread",
        "2 threads",
        "1,000 threads",
    ]
