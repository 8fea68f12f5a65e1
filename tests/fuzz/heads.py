"""The head of an HTTP/1.1 request, as clients, proxies and strangers get it wrong."""

from __future__ import annotations

from random import Random

from tests.fuzz.mutate import damage

METHODS = ("GET", "PUT", "HEAD", "OPTIONS", "CONNECT", "get", "P\0ST", "", "X" * 1000, "PRI")
TARGETS = (
    "*",
    "//embed",
    "http://other/embed",
    "/embed?x=" + "y" * 10_000,
    "/%00",
    "/é",
    "embed",
    "/../embed",
    "/ embed",
)
VERSIONS = ("HTTP/1.0", "HTTP/2", "HTTP/1.11", "http/1.1", "")
LENGTHS = ("0", "1", "-1", "+5", "5, 5", "0x5", "1e3", "٣", "", "99999999999999999999999", "1000000000", "5 5", "\0")
ENCODINGS = ("chunked", "identity", "gzip, chunked", "chunked, chunked", "x", "")
NAMES = ("Host", "Content-Type", "Authorization", "Expect", "Upgrade", "Connection", "Cookie", "X-é", "Bad Name", "")
VALUES = (
    "",
    "100-continue",
    "h2c",
    "close",
    "keep-alive, Upgrade, HTTP2-Settings",
    "a\0b",
    "é",
    "x" * 20_000,
    " \t ",
    "a\r\n b",
)
SIZES = ("0", "5", "-1", "zz", "FFFFFFFFFFFFFFFFFF", "5;x=" + "y" * 5000, "")


def change_head(rng: Random, head: list[str], body: bytes) -> bytes:
    """The bytes of a request whose head is changed; the body may be sent in chunks."""
    head = list(head)
    what = rng.randrange(9)
    if what == 0:
        parts = head[0].split(" ")
        place = rng.randrange(3)
        parts[place] = rng.choice((METHODS, TARGETS, VERSIONS)[place])
        head[0] = " ".join(parts)
    elif what == 1:
        head = [line for line in head if not line.startswith("Content-Length")]
        head.append(f"Content-Length: {rng.choice(LENGTHS)}")
    elif what == 2:
        head.insert(rng.randrange(1, len(head) + 1), f"{rng.choice(NAMES)}: {rng.choice(VALUES)}")
    elif what == 3:
        head.append(head[rng.randrange(len(head))])
    elif what == 4 and len(head) > 1:
        del head[rng.randrange(1, len(head))]
    elif what == 5:
        head += [f"X-{index}: {'y' * rng.choice((1, 100, 10_000))}" for index in range(rng.choice((100, 1000)))]
    elif what == 6:
        if rng.random() < 0.8:
            head = [line for line in head if not line.startswith("Content-Length")]
        head.append(f"Transfer-Encoding: {rng.choice(ENCODINGS)}")
        body = _chunks(rng, body)
    elif what == 7:
        whole = _bytes(head, "\r\n")
        return damage(rng, whole) + body
    else:
        return _bytes(head, rng.choice(("\n", "\r", "\r\n\r\n", "\n\r"))) + body
    return _bytes(head, "\r\n") + body


def _bytes(head: list[str], end: str) -> bytes:
    return end.join([*head, "", ""]).encode()


def _chunks(rng: Random, body: bytes) -> bytes:
    """A body in chunks, one of which may lie."""
    half = len(body) // 2
    sizes = [f"{half:x}", f"{len(body) - half:x}"]
    if rng.random() < 0.5:
        sizes[rng.randrange(2)] = rng.choice(SIZES)
    first, second = (size.encode() for size in sizes)
    end = rng.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b""))
    return first + b"\r\n" + body[:half] + b"\r\n" + second + b"\r\n" + body[half:] + b"\r\n" + end
