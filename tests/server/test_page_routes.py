"""The page's files, without a browser: what is served, with which headers, and to whom."""

from __future__ import annotations

import base64
import re

import httpx
import pytest
from instructor_onnx import cli
from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL
from instructor_onnx.server import Options, browser

from tests.server.conftest import PRESETS, Start

ROUTES = ["/" if name == browser.INDEX else f"/page/{name}" for name in browser.FILES]
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}


def basic(password: str, name: str = "me") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.mark.parametrize(("path", "name"), [*zip(ROUTES, browser.FILES, strict=True)])
def test_every_file_has_its_type_and_the_strict_headers(client: httpx.Client, path: str, name: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content == (browser.FOLDER / name).read_bytes()
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert answer.headers["Content-Type"].partition(";")[0] == kinds[name.rpartition(".")[2]]
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-cache"
    head = client.head(path)
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", answer.headers["ETag"])
    again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


def test_the_list_is_the_folder_and_small() -> None:
    assert {path.name for path in browser.FOLDER.iterdir()} == set(browser.FILES)
    assert sum((browser.FOLDER / name).stat().st_size for name in browser.FILES) < 100_000


def test_nothing_is_inline_and_nothing_from_elsewhere() -> None:
    html = (browser.FOLDER / browser.INDEX).read_text(encoding="utf-8")
    assert (
        re.findall(r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src=\"page/main.js\"></script>)", html) == []
    )
    for name in browser.FILES:
        text = (browser.FOLDER / name).read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text) == []
        for imported in re.findall(r'from "\./([^"]+)"', text):
            assert imported in browser.FILES


@pytest.mark.parametrize(
    "path",
    [
        "nothing.js",
        "",
        "../options.py",
        "%2e%2e/options.py",
        "..%2foptions.py",
        "/etc/passwd",
        "main.js/",
        "main.js%00",
    ],
)
def test_no_other_name_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(f"/page/{path}", follow_redirects=False).status_code in (404, 307)


def test_post_to_it_embeds_as_before(client: httpx.Client) -> None:
    assert len(client.post("/", json={"inputs": "a"}).json()) == 1


def test_settings_have_the_limits_and_every_wording(start: Start) -> None:
    client = start(max_client_batch_size=7, payload_limit=9000)
    settings = client.get("/page/settings.json").json()
    assert settings["model"] == "instructor-mini"
    assert (settings["max_client_batch_size"], settings["payload_limit"]) == (7, 9000)
    assert settings["keyed"] is False
    presets, same, retrieval = (group["wordings"] for group in settings["instructions"])
    assert presets == PRESETS
    assert same == SAME_FOR_ALL
    assert list(retrieval.values()) == [wording for pair in RETRIEVAL.values() for wording in pair]


def test_without_a_page(start: Start) -> None:
    client = start(page=False, api_keys=("secret",))
    with_key = {"Authorization": "Bearer secret"}
    assert client.get("/", headers=with_key).status_code == 405
    assert client.get("/page/main.js", headers=with_key).status_code == 404
    assert client.get("/page/settings.json", headers=with_key).status_code == 404
    assert client.post("/", json={"inputs": "a"}, headers=with_key).status_code == 200
    answer = client.get("/", headers=basic("secret"))  # of no use to a browser, which is not asked for it either
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(("arguments", "page"), [([], True), (["--no-page"], False)])
def test_the_option(monkeypatch: pytest.MonkeyPatch, arguments: list[str], page: bool) -> None:
    found: list[Options] = []
    monkeypatch.setattr("instructor_onnx.server.serve", lambda load, options: found.append(options))
    assert cli.main(["serve", "instructor-mini", *arguments]) == 0
    assert [options.page for options in found] == [page]


def test_a_browser_is_asked_for_the_key_at_the_page_only(start: Start) -> None:
    client = start(api_keys=("first", "second"))
    answer = client.get("/")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="instructor-onnx"')
    assert "the key is the password" in answer.json()["error"]
    for method, path in (("GET", "/page/main.js"), ("GET", "/v1/models"), ("POST", "/"), ("POST", "/v1/embeddings")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    for path in (*ROUTES, "/page/settings.json"):
        assert client.get(path).status_code == 401
        for key in ("first", "second"):
            assert client.get(path, headers=basic(key)).status_code == 200
            assert client.get(path, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert client.get("/page/settings.json", headers=basic("first")).json()["keyed"] is True


def test_a_password_that_is_no_key(start: Start) -> None:
    client = start(api_keys=("secret",))
    assert client.get("/", headers=basic("secret", name="any:name")).status_code == 401  # the password is "name:secret"
    assert client.get("/", headers=basic("secret", name="")).status_code == 200
    for password in ("", "secre", "secrets", "Secret", "ключ"):
        assert client.get("/", headers=basic(password)).status_code == 401
    for credentials in ("secret", "c2VjcmV0", "====", "é", base64.b64encode(b"\xff:\xff").decode()):
        header = {b"Authorization": f"Basic {credentials}".encode()}
        assert client.get("/", headers=header).status_code == 401, credentials


def test_another_sites_page_cannot_have_a_browser_spend_its_password(start: Start) -> None:
    client = start(api_keys=("secret",))
    body = {"input": "a"}
    for site, status in (("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)):
        headers = basic("secret") | {"Sec-Fetch-Site": site}
        assert client.post("/v1/embeddings", json=body, headers=headers).status_code == status
        assert client.get("/", headers=headers).status_code == 200  # a link leads here
    program = {"Authorization": "Bearer secret", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/v1/embeddings", json=body, headers=program).status_code == 200
