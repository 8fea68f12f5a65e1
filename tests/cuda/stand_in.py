"""Libraries in place of CUDA's, with which onnxruntime-gpu opens and runs sessions on a machine without a GPU.

What it asks for is its own: which kernels, how much memory. Numbers and times are not. Each library has the functions
that the package names, doing nothing but for those of stand_in.c.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".c")
DRIVER, RUNTIME, CUDNN = "libcuda.so.1", "libcudart", "libcudnn.so"
OTHERWISE = "__attribute__((weak)) int {name}(void **first) {{ {body}return 0; }}"
WRITTEN = {
    "cuDeviceGetCount": "int cuDeviceGetCount(int *count) { *count = 1; return 0; }",
    "cudnnGetVersion": "unsigned long cudnnGetVersion(void) { return 92800; }",
}


def build(package: Path, folder: Path) -> None:
    """Compile into `folder` what the onnxruntime-gpu in the folder `package` is linked against, and its cuDNN."""
    provider = package / "onnxruntime/capi/libonnxruntime_providers_cuda.so"
    for library, names in wanted(provider).items():
        code = "\n".join(WRITTEN.get(name) or otherwise(name) for name in sorted(names))
        (folder / "others.c").write_text(code, encoding="utf-8")
        (folder / "versions").write_text(f"{library} {{ global: *; }};", encoding="utf-8")
        sources = [str(SOURCE)] if library.startswith(RUNTIME) else []
        versions = [] if library in (DRIVER, CUDNN) else [f"-Wl,--version-script={folder / 'versions'}"]
        compiler = ["gcc", "-w", "-shared", "-fPIC", "-O1", *versions, f"-Wl,-soname,{library}"]
        subprocess.run([*compiler, "-o", folder / library, folder / "others.c", *sources], check=True)


def wanted(provider: Path) -> dict[str, set[str]]:
    """The functions that onnxruntime's provider takes from each library."""
    found = defaultdict(set, {DRIVER: {"cuInit", "cuDeviceGetCount"}})
    symbols = subprocess.run(["nm", "-D", "--undefined-only", provider], check=True, capture_output=True, text=True)
    for name, library in re.findall(r" U (\w+)@(libcu\w+\.so\.\d+)$", symbols.stdout, re.M):
        found[library].add(name)
    found[DRIVER] |= set(re.findall(r" U (cu[A-Z]\w+)$", symbols.stdout, re.M))
    dynamic = subprocess.run(["readelf", "-d", provider], check=True, capture_output=True, text=True)
    for library in re.findall(r"NEEDED.*\[(libcu\w+\.so\.\d+)\]", dynamic.stdout):
        found[library]  # one that is linked and not used
    found[CUDNN] = {name.decode() for name in re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", provider.read_bytes())}
    return found


def otherwise(name: str) -> str:
    """A function that succeeds; one that makes something gives a handle."""
    return OTHERWISE.format(name=name, body="static int made; *first = &made; " if "Create" in name else "")


def run(
    package: Path,
    libraries: Path,
    graph: Path,
    lengths: list[int],
    batch: int = 4,
    twice: bool = False,
    **settings: int,
) -> Any:
    """Open `graph` through the runtime, in a process of its own, and run it at each of `lengths`.

    Args:
        twice: embed texts of each length twice, as `encode` would: recorded, then replayed.
        settings: `sm`, `memory`, as stand_in.c has them.

    Returns:
        By length, the kernels of the run; or, of an error, its type, a colon and its sentence. And what was printed.
        Of `twice`: by length, how many events of each kind, of the first run and of the second; by "end", after all.
    """
    log = libraries / "log"
    log.write_bytes(b"")
    environment = os.environ | {f"STAND_IN_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {
        "STAND_IN_LOG": str(log),
        "LD_LIBRARY_PATH": str(libraries),
        "PYTHONPATH": os.pathsep.join([str(package), *sys.path]),
    }
    command = [sys.executable, __file__, str(graph), str(batch), "twice" if twice else "once", *map(str, lengths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    *printed, found = done.stdout.splitlines()
    return json.loads(found), "\n".join(printed) + done.stderr


def main() -> None:
    """What `run` starts."""
    import numpy as np
    from instructor_onnx.engines.cuda import CudaSession
    from instructor_onnx.engines.devices import Device
    from instructor_onnx.tokens import Tokens

    graph, batch, times, *lengths = sys.argv[1:]
    log = Path(os.environ["STAND_IN_LOG"])
    rows = np.arange(int(batch))
    found: Any = {}

    def events(run: Any) -> list[list[str]]:
        before = log.stat().st_size
        run()
        return [line.split() for line in log.read_text(encoding="utf-8")[before:].splitlines()]

    try:
        session = CudaSession.open(Path(graph), Device("cuda"), 1)
        for length in map(int, lengths):
            if times == "once":
                ones = np.ones((len(rows), length), np.int64)
                happened = events(lambda: session.run(["sentence_embedding"], ones, ones, ones))  # noqa: B023
                found[length] = [event[1] for event in happened if event[0] == "kernel"]
            else:
                starts = np.zeros(len(rows), np.int64)
                offsets = np.arange(len(rows) + 1) * length
                tokens = Tokens(np.ones(offsets[-1], np.int32), offsets, starts, 0)
                runs = [events(lambda: session.sentence_embeddings(tokens, rows)) for _ in range(2)]  # noqa: B023
                found[length] = [Counter(event[0] for event in happened) for happened in runs]
        if times == "twice":
            held = session._model.session
            found["end"] = Counter(event[0] for event in events(lambda: held.release_captured_graph(0)))
    except (MemoryError, RuntimeError) as error:
        found = f"{type(error).__name__}: {error}"
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
