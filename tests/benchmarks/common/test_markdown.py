"""Tables in Markdown, and the blocks of a page that they go into."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.markdown import marks, rewrite_block, table

BEGIN, END = marks("quality")
MARKED = f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe rest.\n"


def test_figures_stand_to_the_right() -> None:
    assert table(["a", "b"], [["x", "1"]]).splitlines() == ["| a | b |", "| --- | --: |", "| x | 1 |"]
    assert table(["a", "b"], [], left=2).splitlines() == ["| a | b |", "| --- | --- |"]


def test_only_the_block_is_rewritten(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(MARKED)
    for _ in range(2):  # and again the same
        rewrite_block(page, "new\n", "quality")
        assert page.read_text() == MARKED.replace("old", "new")


@pytest.mark.parametrize("text", ["no markers", f"{BEGIN} only", f"{END}{BEGIN}", MARKED * 2])
def test_a_readme_without_the_markers_is_left_alone(text: str, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match="once each"):
        rewrite_block(readme, "new", "quality")
    assert readme.read_text() == text
