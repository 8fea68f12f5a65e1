"""constraints.txt and pyproject.toml against what they promise: Python 3.10, and lower bounds that are tried."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PROJECT = Path(__file__).parents[1]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def pins(python: str) -> list[Requirement]:
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    all_pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [pin for pin in all_pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_has_one_pin_of_each(python: str) -> None:
    names = [pin.name for pin in pins(python)]
    assert sorted(names) == sorted({pin.name for each in PYTHONS for pin in pins(each)})


@pytest.mark.parametrize("python", PYTHONS)
def test_a_pin_is_for_the_pythons_it_is_given_to(python: str) -> None:
    """As far as what is installed can say."""
    for pin in pins(python):
        try:
            installed = metadata.distribution(pin.name)
        except metadata.PackageNotFoundError:
            continue
        if installed.version in pin.specifier:
            wanted = SpecifierSet(str(installed.metadata.json.get("requires_python", "")))
            assert f"{python}.99" in wanted, f"{pin} wants Python {wanted}"


def test_every_lower_bound_is_tried() -> None:
    tomllib = pytest.importorskip("tomllib", reason="tests/lower_bounds.py needs Python 3.11")
    from tests.lower_bounds import TRIALS, UNTRIED, lower_bounds

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tried = {bound for trial in TRIALS.values() for bound in lower_bounds(trial.extras.split(","))}
    wanted = {bound for extra in extras.keys() - UNTRIED for bound in lower_bounds([extra])}
    assert wanted - tried == set()
