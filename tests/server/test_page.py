"""The page in a real browser: from an empty page to a moved map and a copied `curl`, hostile texts, keys, limits."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR

from benchmarks.common import PROJECT
from tests.server.conftest import HeldEngine, Start, load, serving

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]

Open = Callable[..., Any]  # (address, options of the context) -> a page
TOPIC = "Represent the text for clustering by topic: "
FORM = "Represent the sentence for classifying its form: "
AXE = "4.14.1"
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ETIMEDOUT", "FETCH_ERROR")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
MARKUP = (
    "<img src=x onerror=\"window.pwned='{0}'\"><script>window.pwned='{0}'</script>\"'><svg onload=window.pwned='{0}'>"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Open]:
    """Open a page; at the end none has violated its policy, failed, or asked another host than its own."""
    with contextlib.ExitStack() as stack:
        checks: list[Callable[[], None]] = []

        def opened(address: str, *, fails: bool = False, **options: Any) -> Any:
            """`fails`: the server's errors, which the console tells too, are what the test is about."""
            context = chromium.new_context(**({"viewport": DESKTOP} | options))
            stack.callback(context.close)
            context.grant_permissions(["clipboard-read", "clipboard-write"])
            page = context.new_page()
            page.set_default_timeout(60_000)
            errors: list[str] = []
            hosts: set[str] = set()
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("dialog", lambda dialog: errors.append(dialog.message))
            page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
            page.add_init_script(
                "window.violations = [];"
                "addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective))"
            )
            page.goto(address)

            def check() -> None:
                assert page.evaluate("[window.violations, window.pwned ?? null]") == [[], None]
                assert hosts == {address.split("/")[2]}
                assert [error for error in errors if not (fails and "Failed to load resource" in error)] == []

            checks.append(check)
            return page

        yield opened
        for check in checks:
            check()


def ready(page: Any) -> Any:
    page.wait_for_selector("#compare:not([disabled])")
    return page


def compare(page: Any, content: str | None = None, kind: str = "lines") -> None:
    """Press Compare, and wait until it is done."""
    ready(page)
    if content is not None:
        page.fill("#content", content)
        page.select_option("#format", kind)
    page.click("#compare")
    page.wait_for_selector("#status:has-text('compared under')")


def move(page: Any) -> None:
    page.click("#play")
    page.wait_for_selector("#map[data-moving]", state="attached")
    page.wait_for_selector("#map:not([data-moving])")


def picture(page: Any) -> str:
    return str(page.evaluate("document.getElementById('map').toDataURL()"))


def download(page: Any, button: str) -> bytes:
    with page.expect_download() as started:
        page.click(button)
    content: bytes = Path(started.value.path()).read_bytes()
    return content


def code(page: Any, name: str) -> str:
    """What the copy button puts on the clipboard."""
    page.check(f"#call-kinds input[value={json.dumps(name)}]", force=True)
    page.click("#copy-call")
    page.wait_for_selector("#copy-call:has-text('Copied.')")
    return str(page.evaluate("navigator.clipboard.readText()"))


def vectors_of(page: Any) -> Any:
    return np.load(io.BytesIO(download(page, "#save-npy")), allow_pickle=False)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def curled(command: str) -> Any:
    """The vectors that a copied `curl` gives: one JSON document an instruction."""
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("needs curl and bash")
    decoder, said, rows = json.JSONDecoder(), run("bash", "-c", command.replace("curl ", "curl -sS ", 1)).strip(), []
    while said:
        answer, end = decoder.raw_decode(said)
        rows.append([item["embedding"] for item in answer["data"]])
        said = said[end:].strip()
    return np.asarray(rows, np.float32)


def pythoned(program: str) -> Any:
    return np.asarray(
        json.loads(run(sys.executable, "-c", f"{program}\nprint(json.dumps([list(map(list, v)) for v in vectors]))")),
        np.float32,
    )


def test_from_an_empty_page_to_a_moved_map_and_a_curl_that_gives_its_vectors(
    opened: Open, shared_server: str, model: INSTRUCTOR
) -> None:
    page = ready(opened(shared_server))
    assert page.is_visible("#empty")
    assert not page.is_visible("#found")
    page.click("#compare-example")
    page.wait_for_selector("#found")
    assert page.inner_text("#place") == "A, by topic"
    assert "100% under A" in page.inner_text("#summary")  # labelled by topic
    before, trace = picture(page), page.inner_text("#neighbours")
    assert "only here" in trace
    move(page)
    assert page.inner_text("#place") == "B, by form"
    assert page.input_value("#slider") == "1"
    assert picture(page) != before
    move(page)
    assert picture(page) == before

    texts = [line.text_content() for line in page.locator("#chosen option").all()]
    assert len(texts) == 16
    found = vectors_of(page)
    wanted = np.stack([model.encode([[instruction, text] for text in texts]) for instruction in (TOPIC, FORM)])
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(curled(code(page, "curl")), found)
    np.testing.assert_array_equal(pythoned(code(page, "Python")), found)
    local = "import json, numpy\n" + code(page, "Without a server") + "\nvectors = [v.tolist() for v in vectors]"
    np.testing.assert_array_equal(pythoned(local), found)


def test_openais_client_gives_its_vectors(opened: Open, shared_server: str) -> None:
    pytest.importorskip("openai")
    page = opened(shared_server)
    compare(page)
    program = "import json\n" + code(page, "OpenAI's client")
    np.testing.assert_array_equal(pythoned(program), vectors_of(page))


def test_the_vectors_as_csv_and_the_pictures(opened: Open, shared_server: str) -> None:
    page = opened(shared_server)
    compare(page)
    header, *rows = download(page, "#save-csv").decode().splitlines()
    found = vectors_of(page)
    assert header.split(",")[:3] == ["instruction", "text", "v0"]
    table = np.asarray([row.split(",") for row in rows], np.float64)
    np.testing.assert_array_equal(table[:, :2], [[i + 1, j + 1] for i in range(2) for j in range(16)])
    np.testing.assert_array_equal(table[:, 2:].astype(np.float32), found.reshape(32, -1))
    assert download(page, "#save-png").startswith(b"\x89PNG")
    drawn = xml.etree.ElementTree.fromstring(download(page, "#save-svg"))
    titles = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0] == "Which flowers grow in the shade?"
    assert len(titles) == 16


def test_the_arithmetic_is_numpys(opened: Open, shared_server: str) -> None:
    """PCA by its projections, Procrustes by the rotation that SVD gives, neighbours by sorting."""
    page = opened(shared_server)
    rng = np.random.default_rng(7)
    for count, width in ((60, 24), (5, 40), (3, 2), (200, 7)):
        rows = rng.normal(size=(count, width)) * np.geomspace(1, 0.05, width)
        other = rng.normal(size=(count, 2))
        points, share, turned, unit, near = page.evaluate(
            """async ([rows, width, other]) => {
                const g = await import("/page/geometry.js");
                const { points, share } = await g.pca(Float64Array.from(rows), width, async () => {});
                const turned = g.aligned(points, Float64Array.from(other));
                const unit = g.normalized(Float32Array.from(rows), width);
                const near = g.nearest(g.similarities(unit, width, 0), 0, 4);
                return [[...points], share, [...turned], [...unit], near];
            }""",
            [rows.ravel().tolist(), width, other.ravel().tolist()],
        )
        centred = rows - rows.mean(0)
        left, values, _ = np.linalg.svd(centred, full_matrices=False)
        projected = left[:, :2] * values[:2]
        found = np.reshape(points, (-1, 2))
        # the third value is 0.87 of the second at most: its share is (0.87 ** 2) ** 30 at most
        np.testing.assert_allclose(np.abs(found), np.abs(projected), atol=1e-3 * values[0])
        assert share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), abs=1e-4)
        a, b = (each / np.sqrt((each**2).sum() / count) for each in (found, other))
        u, _, vt = np.linalg.svd(a.T @ b)
        np.testing.assert_allclose(np.reshape(turned, (-1, 2)), a @ u @ vt, atol=1e-9)
        cosines = np.reshape(unit, (-1, width)) @ np.reshape(unit, (-1, width))[0]
        assert near == [row for row in np.argsort(-cosines) if row != 0][:4]


def test_a_link_holds_the_state_and_no_request_has_it(opened: Open, shared_server: str) -> None:
    page = opened(shared_server)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    compare(page, "naïve 😀\nthe second\nthe third\na text with + / and \\")
    page.select_option("#chosen", "2")
    page.fill("#slider", "0.5")
    page.click("#copy-link")
    page.wait_for_selector("#kept:has-text('Copied.')")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{shared_server}/#state=")
    other = opened(link)
    other.wait_for_selector("#status:has-text('compared under')")
    for field in ("#content", "#format", "#chosen", "#slider"):
        assert other.input_value(field) == page.input_value(field)
    assert other.inner_text("#place") == "50% of the way from A to B"
    assert picture(other) == picture(page)
    page.reload()
    page.wait_for_selector("#status:has-text('compared under')")
    assert not [url for url in asked if "?" in url or url.split("/")[3] not in ("", "page", "v1", "#state=")]


def test_links_that_are_too_long_or_damaged(opened: Open, shared_server: str) -> None:
    page = opened(shared_server)
    compare(page, "\n".join(f"{index} {'long ' * 40}" for index in range(100)))
    page.click("#copy-link")
    page.wait_for_selector("#kept:has-text('A link would have')")
    assert "#" not in page.url
    shapes = ["!!!", "e30", "bnVsbA", "W10"]
    for state in shapes:
        damaged = ready(opened(f"{shared_server}/#state={state}"))
        assert damaged.inner_text("#problem").startswith("The link is damaged")


@pytest.mark.parametrize("kind", ["lines", "csv", "jsonl"])
def test_markup_in_every_field_stays_text(opened: Open, start: Start, kind: str) -> None:
    marks = [MARKUP.replace("{0}", name) for name in "abcdef"]
    client = start(
        presets={MARKUP.format("preset"): MARKUP.format("wording") + ": "}, model_names=(MARKUP.format("name"),)
    )
    quoted = ['"' + mark.replace('"', '""') + '"' for mark in marks]
    content = {
        "lines": "\n".join(marks),
        "csv": "\n".join([f'text,{quoted[0]},"=1+1"', *(f"{mark},{mark},{mark}" for mark in quoted)]),
        "jsonl": "\n".join(json.dumps({"text": mark, marks[0]: mark}) for mark in marks),
    }[kind]
    page = ready(opened(str(client.base_url)))
    page.click("#add")
    for index, wording in enumerate((marks[0], "</pre>" + marks[1], "JSON\n$(touch pwned)`id`'" + marks[2])):
        page.fill(f".card:nth-child({index + 1}) input", wording)
    file = {"name": f"{MARKUP.format('file')}.{kind}", "mimeType": "text/plain", "buffer": content.encode()}
    page.set_input_files("#file", file)
    page.select_option("#format", kind)
    if kind != "lines":
        page.select_option("#label-column", "1")
    page.click("#compare")
    page.wait_for_selector("#status:has-text('compared under')")
    move(page)
    for at in range(3):
        page.hover(f"#heatmaps canvas >> nth={at}")
    page.click("#neighbours button >> nth=2")
    assert marks[0] in page.inner_text("#call").replace('\\"', '"')
    drawn = xml.etree.ElementTree.fromstring(download(page, "#save-svg"))
    assert {element.tag.rpartition("}")[2] for element in drawn.iter()} <= {"svg", "rect", "text", "path", "title", "g"}
    np.testing.assert_array_equal(curled(code(page, "curl")), vectors_of(page))
    np.testing.assert_array_equal(pythoned(code(page, "Python")), vectors_of(page))
    assert not Path("pwned").exists()  # as an instruction has told the shell
    page.click("#copy-link")
    linked = opened(page.url)
    linked.wait_for_selector("#status:has-text('compared under')")
    for each in (page, linked):
        assert each.evaluate("document.querySelectorAll('img, script, iframe, [onerror], [onload]').length") == 2
        assert each.evaluate("[...document.images].every((image) => image.src.endsWith('/page/icon.svg'))")
    broken = {"name": f"{MARKUP.format('file')}.csv", "mimeType": "text/csv", "buffer": b"\xff"}
    page.set_input_files("#file", broken)
    page.wait_for_selector("#problem:has-text('is not UTF-8')")


def test_hidden_characters_show_in_what_is_copied(opened: Open, shared_server: str) -> None:
    page = opened(shared_server)
    content = "\n".join(
        json.dumps(text) for text in ("a\u202eb", "\x1b[31mred\x07", "line\nbreak\u2028", "c\x9b\u200b")
    )
    compare(page, content, "jsonl")
    command = code(page, "curl")
    assert [character for character in command if not character.isprintable() and character != "\n"] == []
    np.testing.assert_array_equal(curled(command), vectors_of(page))


def test_with_the_keyboard_alone(opened: Open, shared_server: str) -> None:
    page = ready(opened(shared_server))
    focused = "document.activeElement.id || document.activeElement.getAttribute('aria-label')"

    def tab_to(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == name:
                return
        pytest.fail(f"the tabulator does not lead to {name}")

    tab_to("content")
    page.keyboard.press("Control+a")
    page.keyboard.type("a rose\na tulip\na disk\na file")
    tab_to("format")
    page.keyboard.press("Home")  # Lines
    tab_to("Instruction B")
    page.keyboard.press("Control+a")
    page.keyboard.type("Represent the length: ")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status:has-text('4 texts compared under 2')")
    tab_to("play")
    page.keyboard.press("Enter")
    page.wait_for_selector("#place:has-text('B, length')")
    tab_to("slider")
    page.keyboard.press("Home")
    assert page.inner_text("#place") == "A, by topic"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#slider", "aria-valuetext") == "1% of the way from A to B"
    tab_to("chosen")
    before = page.inner_text("#neighbours")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#neighbours") != before
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the nearest neighbour becomes the chosen text
    assert page.evaluate(focused) == "chosen"
    tab_to("Similarities under by topic. Arrow keys go from cell to cell.")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#cell").startswith("A: ")
    assert page.inner_text("#cell").endswith("a rose · a tulip")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#cell").endswith("A: 1.000 · a tulip · a tulip")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    tab_to("call")
    tab_to("copy-link")


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's script, from npm."""
    if not shutil.which("npm"):
        pytest.skip("needs npm")
    folder = PROJECT / ".cache" / "axe"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--fetch-retries=1", f"axe-core@{AXE}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        if any(name in done.stderr for name in NO_NETWORK):
            pytest.skip("needs npm's registry")
        assert done.returncode == 0, done.stderr
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    opened: Open, shared_server: str, axe: str, viewport: dict[str, int], scheme: str
) -> None:
    page = ready(opened(shared_server, viewport=viewport, color_scheme=scheme))

    def findings() -> list[tuple[str, str, list[str]]]:
        page.wait_for_timeout(250)  # colours that change softly
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.evaluate(axe)
        violations = page.evaluate("axe.run().then((found) => found.violations)")
        return [(v["id"], v["impact"], [node["html"][:200] for node in v["nodes"]]) for v in violations]

    assert findings() == []
    page.click("#add")
    page.fill(".card:nth-child(3) input", "Represent the length: ")
    compare(page)
    page.hover("#heatmaps canvas >> nth=0")
    assert findings() == []
    page.fill(".card:nth-child(3) input", TOPIC)
    page.click("#compare")
    page.wait_for_selector("#problem:has-text('are the same')")
    assert findings() == []


def test_motion_that_is_unwelcome_is_left_out(opened: Open, shared_server: str) -> None:
    page = opened(shared_server, reduced_motion="reduce")
    compare(page)
    page.evaluate(
        "() => { window.seen = new Set(); "
        "new MutationObserver(() => seen.add(document.getElementById('place').textContent))"
        ".observe(document.getElementById('place'), {childList: true}) }"
    )
    page.click("#play")
    page.wait_for_selector("#place:has-text('B, by form')")
    assert page.evaluate("[...seen]") == ["B, by form"]


def test_another_label_colours_anew_without_the_server(opened: Open, shared_server: str) -> None:
    page = opened(shared_server)
    compare(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert page.inner_text("#legend").split() == ["garden", "computers", "cooking", "space"]
    page.select_option("#label-column", label="form")
    page.wait_for_selector("#legend:has-text('question')")
    assert page.inner_text("#legend").split() == ["question", "statement"]
    assert "0% under A" in page.inner_text("#summary")
    assert asked == []


def test_four_instructions_from_the_menu(opened: Open, shared_server: str, model: INSTRUCTOR) -> None:
    page = ready(opened(shared_server))
    page.click("#add")
    page.click("#add")
    assert page.is_disabled("#add")
    menu = page.locator(".card select").nth(2)
    assert menu.locator("optgroup").evaluate_all("(groups) => groups.map((group) => group.label)") == [
        *("Of the example", "Presets of this server", "One for all texts", "Retrieval: questions and documents")
    ]
    wording = "Represent the question for retrieving supporting documents: "
    menu.select_option(label=f"query — {wording}")
    assert page.input_value(".card:nth-child(3) input") == wording
    compare(page)  # the fourth has none
    texts = [line.text_content() for line in page.locator("#chosen option").all()]
    wanted = [model.encode([[each, text] for text in texts]) for each in (TOPIC, FORM, wording, "")]
    np.testing.assert_array_equal(vectors_of(page), np.stack(wanted))
    assert page.inner_text("#stops").split("\n") == ["A by topic", "B by form", "C query", "D no instruction"]
    assert page.locator("#heatmaps canvas").count() == 4
    listed = [each.inner_text() for each in page.locator(".neighbour .text").all()]
    alone = [each.inner_text() for each in page.locator(".alone .text").all()]
    assert sorted(alone) == sorted(text for text in listed if listed.count(text) == 1)
    for place in ("B, by form", "C, query", "D, no instruction", "A, by topic"):
        move(page)
        assert page.inner_text("#place") == place
    page.click("[aria-label='Remove instruction D']")
    assert page.locator(".card").count() == 3


def test_with_the_servers_key(opened: Open, start: Start) -> None:
    address = str(start(api_keys=("top-secret",)).base_url)
    page = opened(address, http_credentials={"username": "", "password": "top-secret"})
    compare(page)
    for name in ("curl", "Python", "OpenAI's client"):
        assert "INSTRUCTOR_ONNX_API_KEY" in code(page, name)
    assert "top-secret" not in page.content() + page.url
    command = code(page, "curl").replace("$INSTRUCTOR_ONNX_API_KEY", "top-secret")
    np.testing.assert_array_equal(curled(command), vectors_of(page))
    refused = opened(address, fails=True, http_credentials={"username": "", "password": "wrong"})
    assert "the key is the password" in refused.inner_text("body")


def answer_with(page: Any, status: int, body: Any, times: int = 10**9, **headers: str) -> None:
    """Let the server answer requests for vectors like this, so many times."""
    left = iter(range(times))

    def handle(route: Any) -> None:
        if next(left, None) is None:
            route.continue_()
        else:
            route.fulfill(status=status, body=body if isinstance(body, str) else json.dumps(body), headers=headers)

    page.route("**/v1/embeddings", handle)


def test_what_the_server_refuses_is_a_sentence(opened: Open, start: Start) -> None:
    page = ready(opened(str(start().base_url), fails=True))
    for status, body, said in (
        (401, {"error": {"message": "x"}}, "The server's key is missing, or has changed. Reload the page to enter it."),
        (422, {"error": {"message": "input[0]: of no use."}}, "input[0]: of no use."),
        (500, "<b>proxy</b>", "The server answered 500, and not why. Its log may say more."),
    ):
        answer_with(page, status, body)
        page.click("#compare")
        page.wait_for_selector(f"#problem:has-text({json.dumps(said)})")
        assert page.is_enabled("#compare")
        page.unroute("**/v1/embeddings")
    page.route("**/v1/embeddings", lambda route: route.abort())
    page.click("#compare")
    page.wait_for_selector("#problem:has-text('The server cannot be reached.')")
    page.unroute("**/v1/embeddings")
    page.fill(".card:nth-child(1) input", "Represent")  # which covers all of the text below
    page.fill("#content", "ab\nRepresent\ncd")
    page.select_option("#format", "lines")
    for busy in ({"error": {"message": "Too much waits."}}, {"error": {"message": "The model is still being loaded."}}):
        answer_with(page, 429 if "much" in str(busy) else 503, busy, times=2, **{"Retry-After": "0"})
        page.click("#compare")
        page.wait_for_selector("#status:has-text('Trying again.')")
        page.wait_for_selector("#status:has-text('3 texts compared')")
        page.unroute("**/v1/embeddings")


def test_a_server_that_still_loads_its_model(opened: Open) -> None:
    may_load = threading.Event()

    def load_later() -> INSTRUCTOR:
        may_load.wait()
        return load()

    with serving(load_later) as server:
        try:
            page = opened(server.url, fails=True)
            page.wait_for_selector("#status:has-text('The model is still being loaded.')")
            assert page.is_disabled("#compare")
        finally:
            may_load.set()
        compare(page)


def test_cancel(opened: Open, start: Start, held: HeldEngine) -> None:
    page = ready(opened(str(start().base_url)))
    held.may_run.clear()
    page.click("#compare")
    page.wait_for_selector("#progress")
    page.click("#cancel")
    page.wait_for_selector("#status:has-text('Cancelled.')")
    held.may_run.set()
    assert not page.is_visible("#progress")
    compare(page)


def test_a_thousand_texts_in_batches_that_the_server_takes(opened: Open, start: Start, model: INSTRUCTOR) -> None:
    page = ready(opened(str(start(max_client_batch_size=50, payload_limit=3000).base_url)))
    texts = [f"the text of number {index}" for index in range(1000)]
    sizes: list[int] = []
    page.on("request", lambda each: sizes.append(len(each.post_data or "")) if "embeddings" in each.url else None)
    page.set_input_files(
        "#file", {"name": "texts.txt", "mimeType": "text/plain", "buffer": "\r\n".join(texts).encode()}
    )
    compare(page)
    assert max(sizes) <= 3000
    assert page.locator("#heatmaps canvas").count() == 0
    assert "up to 300 texts; these are 1,000" in page.inner_text("#heat-note")
    move(page)
    wanted = np.stack([model.encode([[instruction, text] for text in texts]) for instruction in (TOPIC, FORM)])
    np.testing.assert_array_equal(vectors_of(page), wanted)
    np.testing.assert_array_equal(pythoned(code(page, "Python")), wanted)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("\n".join(f"text {index}" for index in range(10_000)), "txt", "10,000 texts are more than this page can show"),
        ("", "txt", "No texts: neighbours need at least 3."),
        ("a\nb", "txt", "Too few texts: neighbours need at least 3."),
        ('text,b\n"a,b', "csv", "A quotation mark is never closed (it is in row 2)."),
        ("text,b\na,b,c", "csv", "Row 2 has 3 fields, the header 2."),
        ('{"text": "a"}\n{', "jsonl", "Line 2 is not JSON."),
        ("[1]", "jsonl", "Line 1 is neither an object nor a string"),
        ("a" * 5_000_001, "txt", "has 5,000,001 bytes, more than the 5,000,000"),
    ],
    ids=["ten thousand", "none", "two", "quote", "ragged", "no JSON", "array", "large"],
)
def test_files_that_are_refused(opened: Open, shared_server: str, content: str, kind: str, said: str) -> None:
    page = ready(opened(shared_server))
    page.set_input_files("#file", {"name": f"file.{kind}", "mimeType": "text/plain", "buffer": content.encode()})
    if "bytes" not in said:
        page.wait_for_selector("#count:not(:has-text('16 texts.'))")
        page.click("#compare")
    page.wait_for_selector(f"#problem:has-text({json.dumps(said)})")


def test_tables_of_every_kind(opened: Open, shared_server: str) -> None:
    page = ready(opened(shared_server))
    read = """async ([content, format]) => {
        const { parse, guess, choose } = await import("/page/table.js");
        const table = parse(content, format);
        const { text, label } = guess(table);
        return { ...table, ...choose(table, text, label) };
    }"""
    quoted = page.evaluate(read, ['a;label\r\n"x;""y""\nz";1\r\n;2\r\n\r\nb;1\r\nc;2', "csv"])
    assert quoted["columns"] == ["a", "label"]
    assert quoted["texts"] == ['x;"y"\nz', "b", "c"]
    assert (quoted["labels"], quoted["left"]) == (["1", "1", "2"], 1)
    tabs = page.evaluate(read, ["kind\tsentence\nq\tone, two\ns\tthree", "csv"])
    assert (tabs["texts"], tabs["labels"]) == (["one, two", "three"], None)
    lines = '{"n": 1, "title": "a", "deep": {"x": 1}}\n\n"b"\n{"text": "c", "label": true}'
    records = page.evaluate(read, [lines, "jsonl"])
    assert records["columns"] == ["n", "title", "text", "label"]
    assert (records["texts"], records["labels"], records["left"]) == (["b", "c"], ["(none)", "true"], 1)
    odd = page.evaluate(read, ['{"__proto__": "a", "constructor": "b"}', "jsonl"])
    assert odd["columns"] == ["__proto__", "constructor"]


def test_a_long_text_is_pasted_at_once(opened: Open, shared_server: str) -> None:
    page = ready(opened(shared_server))
    page.select_option("#format", "lines")
    page.evaluate("(text) => navigator.clipboard.writeText(text)", "\n".join(f"line {index}" for index in range(2000)))
    page.focus("#content")
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+v")
    page.wait_for_selector("#count:has-text('2,000 texts.')")


def test_a_dropped_file(opened: Open, shared_server: str) -> None:
    page = ready(opened(shared_server))
    page.evaluate(
        """() => {
            const dropped = new DataTransfer();
            dropped.items.add(new File(["text,label\\na,1\\nb,1\\nc,2\\nd,2"], "table.csv"));
            document.getElementById("content").dispatchEvent(
                new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }),
            );
        }"""
    )
    page.wait_for_selector("#count:has-text('4 texts.')")
    compare(page)
    assert page.inner_text("#legend").split() == ["1", "2"]


def test_texts_are_never_logged(opened: Open, start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    page = opened(str(start(access_log=True).base_url))
    compare(page, "a mysterious-word here\nanother mysterious-word\na third mysterious-word")
    page.click("#copy-link")
    page.reload()
    page.wait_for_selector("#status:has-text('compared under')")
    logged = capfd.readouterr().err
    assert "POST /v1/embeddings" in logged
    assert "mysterious" not in logged
    assert "state=" not in logged
