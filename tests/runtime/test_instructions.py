"""Instructions: the template, the ready-made ones, and those of the published scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL, instruction, mteb_instructions

DOCS = Path(__file__).parents[2] / "docs/instructions.md"
MODELS = ("instructor-base", "instructor-large", "instructor-xl")


def test_the_template() -> None:
    assert instruction("sentence") == "Represent the sentence: "
    assert instruction("title", domain="Science") == "Represent the Science title: "
    assert instruction("document", task_objective="retrieval") == "Represent the document for retrieval: "
    assert (
        instruction(" statement ", domain="Medicine ", task_objective=" retrieving a duplicate sentence")
        == "Represent the Medicine statement for retrieving a duplicate sentence: "
    )
    with pytest.raises(ValueError, match="text_type: found nothing"):
        instruction("", domain="Science")


def test_ready_made_ones_keep_the_form() -> None:
    ready = [*(side for pair in RETRIEVAL.values() for side in pair), *SAME_FOR_ALL.values()]
    assert all(text.startswith("Represent the ") and text.endswith(": ") and "  " not in text for text in ready)


def test_the_page_lists_all_of_them() -> None:
    page = DOCS.read_text(encoding="utf-8")
    for name, pair in RETRIEVAL.items():
        assert f"| {name} | `{pair.query}` | `{pair.document}` |" in page
    for name, text in SAME_FOR_ALL.items():
        assert f"| {name} | `{text}` |" in page


@pytest.mark.parametrize("model", MODELS)
def test_published_ones(model: str) -> None:
    found = mteb_instructions(model)
    assert found == mteb_instructions(f"hkunlp/{model}")
    assert len(found) == 67
    assert found["NQ"] == {
        "query": "Represent the Wikipedia question for retrieving supporting documents: ",
        "corpus": "Represent the document for retrieval: ",
    }


def test_published_ones_differ_by_model() -> None:
    assert mteb_instructions("instructor-xl")["STS12"] == "represent texts, "
    assert mteb_instructions("instructor-large")["STS12"] == "Represent the statement: "
    with pytest.raises(ValueError, match="published for instructor-base, instructor-large, instructor-xl"):
        mteb_instructions("instructor-mini")


def test_published_ones_are_all_there(shared: Path) -> None:
    published = json.loads((shared / "mteb_instructions.json").read_text(encoding="utf-8"))
    for model in MODELS:
        tasks = published[f"hkunlp/{model}"]
        # one key of -large is a note of its authors': a task's name and a score
        assert mteb_instructions(model) == {task: text for task, text in tasks.items() if " " not in task}
