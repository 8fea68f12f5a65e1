"""The page: everything on it, nothing from elsewhere, and no name that acts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from instructor_onnx.bench import compare, page, report
from instructor_onnx.bench.results import LeftOut, Load, Results, Sample, Setting

from tests.runtime.bench.figures import MACHINE, measured
from tests.runtime.bench.figures import results as found

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;</title></style></svg>"
VOID = {"meta", "br", "img", "input", "link"}


class Page(HTMLParser):
    """Reads a page as a browser would: tags with attributes, words, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def hostile() -> Results:
    """Every text of a stranger's file tries to be HTML."""
    variant = measured(variant=HOSTILE, engine=HOSTILE, description=HOSTILE, fingerprint=HOSTILE)
    machine = replace(MACHINE, processor=HOSTILE, system=HOSTILE, python=HOSTILE, instruction_sets=(HOSTILE,))
    machine = replace(machine, peaks=tuple(replace(peak, source=HOSTILE) for peak in MACHINE.peaks))
    texts = {"instructor_onnx": HOSTILE, "measured_at": HOSTILE, "model": HOSTILE, "machine": machine}
    stages = tuple(replace(stage, name=HOSTILE) for stage in variant.stages)
    return found(replace(variant, stages=stages), left_out=(LeftOut(HOSTILE, HOSTILE),), **texts)


def test_everything_that_was_measured_is_on_the_page() -> None:
    results = found(measured(), measured(variant="fp32", weight_type="float32", engine="onnxruntime"))
    read = Page(page.page(results))
    words = " ".join(read.words)
    for section in report.sections(results):
        assert section.title in words
    assert read.open == []
    assert len(read.named("svg")) == 7
    assert len(read.named("table")) == 8
    assert "INSTRUCTOR(..., variant='int8', engine='native', num_threads=2)" in words
    assert "fp16: is for GPUs." in words
    assert "The machine was quiet" in words


def test_the_page_needs_nothing_else() -> None:
    """No script, no request, and a policy that would forbid both."""
    both = [page.page(found()), page.comparison_page(compare.compare(found(), found()))]
    for text in both:
        read = Page(text)
        names = {name for name, _ in read.tags}
        assert names.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"})
        assert {"http-equiv": "Content-Security-Policy", "content": page.POLICY} in read.named("meta")
        assert "default-src 'none'" in page.POLICY
        assert not re.search(r"url\(|@import|javascript:", text)
        links = set(re.findall(r"https?://[^\s\"'<]+", text))
        assert links == {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches


@pytest.mark.parametrize("two", [False, True])
def test_names_of_strangers_are_words_and_nothing_else(two: bool) -> None:
    text = page.comparison_page(compare.compare(hostile(), found(*hostile().variants))) if two else page.page(hostile())
    read = Page(text)
    assert read.open == []
    assert {name for name, _ in read.tags}.isdisjoint({"script", "img"})
    assert all(not name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert len(read.named("title")) == 1 + len(read.named("svg"))
    assert HOSTILE in "".join(read.words)
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_tables_and_drawings_can_be_read_aloud() -> None:
    read = Page(page.page(found()))
    assert read.named("html") == [{"lang": "en"}]
    assert all(attributes.get("scope") in ("col", "row") for attributes in read.named("th"))
    ids = {attributes["id"] for _, attributes in read.tags if "id" in attributes}
    for drawn in read.named("svg"):
        assert drawn["role"] == "img"
        assert set((drawn["aria-labelledby"] or "").split()) <= ids
    scrolled = [attributes for attributes in read.named("div") if attributes.get("class") == "scroll"]
    assert all(each["tabindex"] == "0" and each["role"] == "region" and each["aria-label"] for each in scrolled)
    assert len(read.named("main")) == len(read.named("h1")) == 1


def test_the_page_is_light_and_dark_and_fits_a_phone() -> None:
    text = page.page(found())
    assert "prefers-color-scheme:dark" in text
    assert {"name": "viewport", "content": "width=device-width,initial-scale=1"} in Page(text).named("meta")


def test_the_page_of_many_variants_stays_small() -> None:
    memory = tuple(Sample(number / 7, 10**9 + number) for number in range(240))
    variants = [
        measured(variant=name, engine=engine, memory=memory)
        for name in ("fp32", "fp16", "bf16", "int8", "int4")
        for engine in ("native", "onnxruntime")
    ]
    results = found(*variants)
    assert len(page.page(results).encode()) < 300_000
    assert len(page.comparison_page(compare.compare(results, results)).encode()) < 300_000


def test_a_busy_machine_is_seen_first() -> None:
    text = page.page(found(load=Load(1.0, 1.5, 0.0, 3.0)))
    assert text.index("The machine was busy") < text.index("<svg")
    assert report.NOT_QUIET in text
    assert report.NOT_QUIET not in page.page(found())


def test_single_figures_taken_while_busy_have_a_star() -> None:
    threads = (Setting(1, 500.0, 0.0), Setting(2, 900.0, 0.8))
    said = report.text(found(measured(threads=threads)))
    assert "900 *" in said
    assert "500 *" not in said
    all_quiet = report.text(found())
    assert "*" not in all_quiet


def test_what_is_unknown_elsewhere_is_a_dash() -> None:
    elsewhere = measured(memory=(), resident_bytes=None, peak_bytes=None, stages=())
    text = page.page(found(elsewhere, load=Load(None, None, None, None)))
    assert "Only Linux tells." in text
    assert len(Page(text).named("svg")) == 6
