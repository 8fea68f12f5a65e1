"""The line that installs an extra: errors name one that works, wherever this package came from."""

from __future__ import annotations

import json
import shlex
from importlib import metadata
from urllib.parse import urlsplit

NAME = "instructor-onnx"


def pip_install(extra: str = "") -> str:
    """`pip install` of this package, with an extra, from the index, folder, file or repository that it came from.

    The last three are told by its direct_url.json (https://packaging.python.org/specifications/direct-url/).
    """
    from urllib.request import url2pathname  # here: it brings http and ssl, and only errors want it

    try:
        origin = json.loads(metadata.distribution(NAME).read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:  # on sys.path, not installed
        origin = {}
    brackets = f"[{extra}]" if extra else ""
    url, options, what = urlsplit(origin.get("url", "")), "", NAME + brackets
    if url.scheme == "file":
        options = "-e " if origin.get("dir_info", {}).get("editable") else ""
        what = url2pathname(url.path) + brackets
    elif url.scheme:
        vcs = origin["vcs_info"]["vcs"] + "+" if "vcs_info" in origin else ""
        what += f" @ {vcs}{url.geturl()}"
    return f"pip install {options}{shlex.quote(what)}"
