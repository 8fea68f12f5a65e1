"""Wheels of every platform, made on one machine: Zig's C++ compiler, from PyPI, through zig.cmake.

    make wheels                                      # into dist/: eight platforms, the pure wheel, the sdist
    python -m wheels.build dist --only win_arm64,any

One wheel a platform serves every Python, as the kernels are called through ctypes. Built twice of one commit, from
sources that are committed, the files are the same, byte by byte; dist/SHA256SUMS says which.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent
# The platform's tag, and Zig's name of it. glibc's versions are those of CentOS 7: all that the kernels take is older.
TARGETS = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
    "macosx_12_0_x86_64": "x86_64-macos.12.0",
    "macosx_12_0_arm64": "aarch64-macos.12.0",
    "win_amd64": "x86_64-windows-gnu",
    "win_arm64": "aarch64-windows-gnu",
}
PURE, SDIST = "any", "sdist"
REQUIREMENTS = HERE / "requirements.txt"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every file lies in the folder, 1 after an error that was said on stderr."""
    options = _parser().parse_args(arguments)
    try:
        build(options.out, options.only)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = f"{error.stdout}{error.stderr}" if isinstance(error, subprocess.CalledProcessError) else ""
        sys.stderr.write(f"{said}wheels: {error}\n")
        return 1
    return 0


def build(out: Path, names: list[str]) -> None:
    """Make what `names` names; nothing is left in `out` of what failed.

    Raises:
        ValueError: a name is unknown, or a package to build with is not installed.
        subprocess.CalledProcessError: a build failed; has its output.
    """
    known = [*TARGETS, PURE, SDIST]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"--only: found {', '.join(unknown)}, expected of {', '.join(known)}.")
    pins = [line.split("==") for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line]
    if missing := [f"{name} {version}" for name, version in pins if _version(name) != version]:
        raise ValueError(f"needs {', '.join(missing)}: pip install -r {REQUIREMENTS.relative_to(PROJECT)}.")
    os.environ["INSTRUCTOR_ONNX_RELEASE"] = "1"  # no pure wheel in place of one whose kernels do not compile
    os.environ.setdefault("SOURCE_DATE_EPOCH", _run("git", "log", "-1", "--format=%ct").strip())
    out.mkdir(parents=True, exist_ok=True)
    for name in names or known:
        with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as folder:
            made = _backend("sdist", Path(folder), {}) if name == SDIST else _wheel(name, Path(folder))
            made = made.replace(out / made.name)
        sys.stdout.write(f"{_sha256(made)}  {made.name}  {made.stat().st_size / 1e6:.2f} MB\n")
    files = sorted([*out.glob("*.whl"), *out.glob("*.tar.gz")])
    (out / "SHA256SUMS").write_text("".join(f"{_sha256(file)}  {file.name}\n" for file in files))


def zig() -> Path:
    """The compiler out of PyPI's package."""
    import ziglang

    return Path(ziglang.__file__).parent / ("zig.exe" if os.name == "nt" else "zig")


def library(wheel: Path, folder: Path) -> Path:
    """The compiled kernels out of a wheel, written into `folder`; ValueError where it has none."""
    with zipfile.ZipFile(wheel) as files:
        inside = next((name for name in files.namelist() if "/_kernels." in name), None)
        if inside is None:
            raise ValueError(f"{wheel}: has no kernels.")
        path = folder / Path(inside).name
        path.write_bytes(files.read(inside))
    return path


def _wheel(name: str, folder: Path) -> Path:
    if name == PURE:
        settings = {"wheel.cmake": "false"}
    else:
        settings = {
            "cmake.define.CMAKE_TOOLCHAIN_FILE": str(HERE / "zig.cmake"),
            "cmake.define.ZIG": str(zig()),
            "cmake.define.INSTRUCTOR_TARGET": TARGETS[name],
            "install.strip": "false",  # zig.cmake does it
            "build-dir": str(folder / "build"),
        }
    made = _backend("wheel", folder, settings)
    if name == PURE:
        return made
    # scikit-build-core names the machine that builds
    _run(sys.executable, "-m", "wheel", "tags", "--remove", f"--platform-tag={_tag(name)}", str(made))
    return next(folder.glob("*.whl"))


def _tag(name: str) -> str:
    """PEP 600's tag of old glibc goes with the name that older pips know."""
    return name.replace("manylinux_2_17", "manylinux2014") + f".{name}" if "manylinux" in name else name


def _backend(what: str, folder: Path, settings: dict[str, str]) -> Path:
    passed = [f"--config-setting={key}={value}" for key, value in settings.items()]
    _run(sys.executable, "-m", "build", "--no-isolation", f"--{what}", "--outdir", str(folder), *passed, str(PROJECT))
    return next(file for file in folder.iterdir() if file.is_file())


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wheels.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, nargs="?", default=PROJECT / "dist", help="folder; default: dist")
    names = ",".join([*TARGETS, PURE, SDIST])
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help=f"some of {names}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
