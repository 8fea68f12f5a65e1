"""Tables in Markdown, and the blocks of a page that they are written into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """All but the first `left` columns are aligned to the right."""
    rule = ["---"] * left + ["--:"] * (len(titles) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [titles, rule, *rows])


def marks(name: str) -> tuple[str, str]:
    """The lines that a block begins and ends with."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def rewrite_block(page: Path, text: str, name: str) -> None:
    """Put `text` between the marks of a page's block.

    Raises:
        ValueError: the page does not have both marks once, in order.
    """
    begin, end = marks(name)
    content = page.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ValueError(f"{page}: expected the lines {begin} and {end} once each, in this order.")
    before, rest = content.split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")
