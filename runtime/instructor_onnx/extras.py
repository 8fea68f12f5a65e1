"""The line that installs an extra: errors name one that works, wherever this package came from."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from urllib.parse import unquote, urlsplit

NAME = "instructor-onnx"


def pip_install(extra: str = "") -> str:
    """`pip install` of this package, with an extra, from the index, folder, file or repository that it came from.

    The last three are told by its direct_url.json (https://packaging.python.org/specifications/direct-url/).
    """
    try:
        origin = json.loads(metadata.distribution(NAME).read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:  # on sys.path, not installed
        origin = {}
    brackets = f"[{extra}]" if extra else ""
    url, options, what = urlsplit(origin.get("url", "")), "", NAME + brackets
    if url.scheme == "file":
        options = "-e " if origin.get("dir_info", {}).get("editable") else ""
        # not urllib.request's url2pathname, which brings http and ssl wherever the kernels are missing
        what = unquote(url.path)[1 if sys.platform == "win32" else 0 :] + brackets  # /C:/folder
    elif url.scheme:
        vcs = origin["vcs_info"]["vcs"] + "+" if "vcs_info" in origin else ""
        what += f" @ {vcs}{url.geturl()}"
    return f"pip install {options}{shlex.quote(what)}"
