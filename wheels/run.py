"""Runs the kernels of each wheel where they can be run, on the same 1,000 texts: is there a differing bit?

    make wheels
    .venv/bin/python -m wheels.run dist --docs docs/platforms.md

A program of embed.c, compiled by Zig for each platform, loads the library out of the wheel, checks itself and embeds
with every instruction set that the machine has, or the processor that qemu plays. Needs, as Debian calls them,
qemu-user, libc6-arm64-cross, musl and wine64; --musl-arm64 names a folder whose lib/ has musl's loader for Arm. What is
not there is said, and its wheel was not executed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from instructor_onnx import INSTRUCTOR
from instructor_onnx.engines import kernels, native
from instructor_onnx.engines.onnx_file import read_initializers

from benchmarks.common import PROJECT, commands, results
from benchmarks.common.markdown import rewrite_block, table
from benchmarks.common.texts import Writer, mixed_lengths
from wheels.build import TARGETS, library, zig

HERE = Path(__file__).parent
TEXTS, SHORTER = 1000, 4  # texts of a quarter of the mixed set's lengths: qemu is slow
ARM_SYSROOT = "/usr/aarch64-linux-gnu"


@dataclass(frozen=True)
class Place:
    """Where a program of one platform runs."""

    name: str
    needs: str  # a program, or a file
    command: tuple[str, ...] = ()

    def is_here(self) -> bool:
        return shutil.which(self.needs) is not None or Path(self.needs).exists()


def places(musl_arm64: Path | None) -> dict[str, list[Place]]:
    """Those that could be on this machine, by the wheels' platforms; none for the others."""
    found: dict[str, list[Place]] = {name: [] for name in TARGETS}
    machine = platform.machine()
    glibc = f"this machine, {' '.join(platform.libc_ver())}"
    arm = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5", "max": "with i8mm"}
    for name in TARGETS:
        if name.startswith("manylinux") and name.endswith(machine):
            found[name] += [Place(glibc, "/bin/sh")]
        elif name.startswith("musllinux") and name.endswith(machine):
            found[name] += [Place("this machine, musl", f"/lib/ld-musl-{machine}.so.1")]
        elif name.endswith("linux_2_17_aarch64") or (name.endswith("linux_1_2_aarch64") and musl_arm64):
            root = str(musl_arm64) if name.startswith("musl") else ARM_SYSROOT
            libc = "musl" if name.startswith("musl") else "glibc"
            found[name] += [
                Place(f"qemu {cpu} ({what}), {libc}", "qemu-aarch64", ("qemu-aarch64", "-cpu", cpu, "-L", root))
                for cpu, what in arm.items()
            ]
        elif name == "win_amd64":
            wine = (
                shutil.which("wine64") or shutil.which("wine") or "/usr/lib/wine/wine64"
            )  # Debian's has no other name
            found[name] += [Place("wine", wine, (wine,))]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run)


def _run(options: argparse.Namespace) -> int:
    wheels = sorted(options.wheels.glob("*.whl"))
    if not wheels:
        raise ValueError(f"{options.wheels}: has no wheels. `make wheels` makes them.")
    found: dict[str, Any] = {"date": results.today(), "texts": TEXTS, "wheels": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = write_case(folder / "case")
        for wheel in wheels:
            platform_name = next((name for name in TARGETS if name in wheel.name), None)
            about: dict[str, Any] = {"bytes": wheel.stat().st_size, "sha256": _sha256(wheel.read_bytes()), "ran": {}}
            found["wheels"][wheel.name] = about
            if platform_name is None:
                continue
            for place in places(options.musl_arm64)[platform_name]:
                if not place.is_here():
                    sys.stderr.write(f"{wheel.name}: {place.name} is not here ({place.needs})\n")
                    continue
                same = run(wheel, platform_name, place, folder, expected)
                about["ran"][place.name] = same
                sys.stderr.write(f"{wheel.name}: {place.name}: {same}\n")
    results.write(options.out, found)
    text = tables(found)
    sys.stdout.write(text + "\n")
    if options.docs:
        rewrite_block(options.docs, text, "wheels")
    return 0 if all(all(ran.values()) for about in found["wheels"].values() for ran in about["ran"].values()) else 1


def write_case(path: Path) -> str:
    """What embed.c reads: instructor-mini's weights and 1,000 tokenised texts; the digest of this build's vectors."""
    model = INSTRUCTOR("instructor-mini", engine="native")
    rows = Writer(model.tokenizer).rows([max(8, length // SHORTER) for length in mixed_lengths()[:TEXTS]])
    tokens = model.tokenizer(rows, 512)
    manifest = model.manifest
    path_of_weights = model.folder / manifest.variants[model.variant].files[0].path
    config, tensors = native.arguments(read_initializers(path_of_weights), manifest.model, path_of_weights)
    with path.open("wb") as file:
        file.write(bytes(kernels.Config(**config)))
        file.write(np.int64(len(tensors)).tobytes())
        for tensor in tensors:
            file.write(np.int64(tensor.nbytes).tobytes())
            file.write(np.ascontiguousarray(tensor).tobytes())
        file.write(np.array([TEXTS, len(tokens.ids)], dtype=np.int64).tobytes())
        for array, kind in ((tokens.offsets, np.int64), (tokens.starts, np.int64), (tokens.ids, np.int32)):
            file.write(np.ascontiguousarray(array, dtype=kind).tobytes())
    return _sha256(model.engine.sentence_embeddings(tokens, np.arange(TEXTS)).tobytes())


def run(wheel: Path, platform_name: str, place: Place, folder: Path, expected: str) -> dict[str, bool]:
    """Each instruction set that there is there: are the vectors the same?

    Raises:
        RuntimeError: the program failed; has what it said.
    """
    target = TARGETS[platform_name]
    program = folder / ("embed.exe" if "windows" in target else "embed")
    dynamic = ["-dynamic"] if "musl" in target else []
    source = [str(HERE / "embed.c"), "-I", str(PROJECT / "kernels" / "include"), "-o", str(program)]
    _done([str(zig()), "cc", "-target", target, *dynamic, "-O2", *source])
    kernels_of_wheel = library(wheel, folder)
    for left in folder.glob("vectors.*"):
        left.unlink()
    # relative paths: wine has its own way to write others
    _done([*place.command, f"./{program.name}", f"./{kernels_of_wheel.name}", "case", "vectors"], folder)
    return {file.suffix[1:]: _sha256(file.read_bytes()) == expected for file in sorted(folder.glob("vectors.*"))}


def _done(command: Sequence[str], folder: Path | None = None) -> None:
    environment = {**os.environ, "WINEDEBUG": "-all"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def tables(found: dict[str, Any]) -> str:
    """The table of wheels, in Markdown."""
    lines = []
    for name, about in found["wheels"].items():
        tag = name.split("-", 2)[2].removesuffix(".whl")
        ran = [
            f"{place}: {', '.join(isas)} {'- the same bits' if all(isas.values()) else '- OTHER BITS'}"
            for place, isas in about["ran"].items()
        ]
        pure = "no kernels: onnxruntime computes" if tag.endswith("any") else "not executed: the self-check guards it"
        lines.append([f"`{tag}`", f"{about['bytes'] / 1e6:.1f} MB", "<br>".join(ran) or pure])
    return table(["wheel", "size", f"executed, {found['texts']:,} texts each"], lines, left=3)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wheels.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheels", type=Path, nargs="?", default=PROJECT / "dist", help="folder; default: dist")
    parser.add_argument("--musl-arm64", type=Path, help="a folder whose lib/ has musl's loader for Arm")
    parser.add_argument("--out", type=Path, default=results.RESULTS / "wheels.json", help="results file")
    commands.add_page(parser, "--docs", "wheels", "the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
