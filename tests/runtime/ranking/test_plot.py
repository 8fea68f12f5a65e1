"""The picture of a ranking."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from instructor_onnx.extras import pip_install
from instructor_onnx.instructions import Pair
from instructor_onnx.ranking import plot
from instructor_onnx.ranking.rank import Ranked, Ranking
from instructor_onnx.ranking.scores import Estimate

SCORE = Estimate(0.5, 0.4, 0.6)
RANKING = Ranking(
    model="instructor-mini",
    variant="int8",
    sample="40 texts, 4 labels",
    kind="labels",
    unit="texts",
    units=40,
    by="mAP",
    seed=0,
    resamples=2000,
    candidates=(
        Ranked("mine", Pair("a: ", "a: "), {"mAP": SCORE}, Estimate(0.1, 0.05, 0.2), Estimate(0, 0, 0)),
        Ranked("none", Pair("", ""), {"mAP": SCORE}, Estimate(0, 0, 0), Estimate(-0.1, -0.2, -0.05)),
    ),
)


@pytest.mark.parametrize("name", ["ranking.png", "ranking.svg"])
def test_the_picture_is_the_same_for_the_same_ranking(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot`")
    written = []
    for _ in range(2):
        plot.plot(RANKING, tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    if name.endswith(".svg"):
        ElementTree.fromstring(written[0])
        assert [word for word in (b"mine", b"none", b"mAP, points") if word not in written[0]] == []
    else:
        assert written[0].startswith(b"\x89PNG")


def test_what_cannot_be_written_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected a name that ends in .png or .svg"):
        plot.check(tmp_path / "ranking.gif")
    with pytest.raises(ValueError, match="there is no folder"):
        plot.check(tmp_path / "no" / "ranking.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError) as caught:
        plot.check(tmp_path / "ranking.png")
    assert str(caught.value).endswith(pip_install("plot"))
