"""A token of the base shape on AMX, stage by stage: the model's cycles of each compiled loop, times its turns.

What is not in it: memory past the first-level cache, thread starts, the embedding and the last stage (pooling, Dense),
which are a few hundred cycles a token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mca import model
from benchmarks.mca.assembly import Loop, compile_isa, functions, loops, opcode

PROCESSOR = "sapphirerapids"
TILES = "icelake-server"  # of loops with tile instructions (model.py)

# The base shape.
LAYERS, HEADS, D, D_FF, D_KV = 12, 12, 768, 3072, 64
VECTOR = 16  # floats
ROW = 20  # cycles for a row's horizontal sum or maximum and its division; taken, not modelled

# Of a machine that was measured once: two cores, at the clock that 10 TOPS on random data give, and how fast they read
# weights from memory.
CLOCK, CORES = 2.44e9, 2
WEIGHTS, READ = 85e6, 57e9  # bytes, bytes a second


@dataclass(frozen=True)
class Product:
    """One of a layer's: rows by k by n."""

    function: str  # whose products these are
    which: int  # of its loops
    k: int
    n: int


PRODUCTS = (
    Product("self_attention", 0, D, 3 * D),
    Product("self_attention", 1, D, D),
    Product("inner_rows", 0, D, D_FF),
    Product("feed_forward", 0, D_FF, D),
)


@dataclass
class Compiled:
    """The assembly of amx.cpp, its loops, and what they cost."""

    assembly: str

    def __post_init__(self) -> None:
        self.loops = loops(self.assembly)
        self.bodies = {name: tuple(body) for name, body, _ in functions(self.assembly)}

    def loop(self, what: str, wanted: Callable[[Loop], bool], function: str = "") -> Loop:
        """The shortest that is wanted."""
        found = [loop for loop in self.loops if re.search(function, loop.function) and wanted(loop)]
        if not found:
            raise ValueError(f"no loop for {what}: the code has changed, and this model has to follow.")
        return min(found, key=lambda loop: len(loop.instructions))

    def cycles(self, what: str, wanted: Callable[[Loop], bool], function: str = "") -> float:
        return cycles(self.loop(what, wanted, function).instructions)


def cycles(instructions: tuple[str, ...], processor: str = PROCESSOR) -> float:
    """Of one turn. LLVM's table of Sapphire Rapids lacks the servers' multiplier for 512 bits on port 5."""
    cost = model.costs([Loop("", instructions)], processor, arm=False)[0]
    if cost.bottleneck != "SPRPort00":
        return cost.cycles
    shared = (cost.busy["SPRPort00"] + cost.busy.get("SPRPort05", 0.0)) / 2
    return max(shared, *(busy for port, busy in cost.busy.items() if port != "SPRPort00"))


def stages(kernels: Path, length: int) -> dict[str, float]:
    """Cycles of a token in a text of so many, in a unit of full tiles; by stage."""
    code = Compiled(compile_isa(kernels, "amx"))
    norm, quantization = _rows(code)
    found = {
        "products and epilogue": LAYERS * sum(_product(code, product) for product in PRODUCTS),
        "norms": LAYERS * norm,
        "quantisation": LAYERS * quantization,
        "attention": LAYERS * HEADS * _attention(code, length),
    }
    return {"products alone": LAYERS * (4 * D * D + 2 * D * D_FF) / 1024, **found}


def rate(found: dict[str, float], batch: int, length: int) -> float:
    """Tokens a second, by stages(). A single text waits for the weights; its products fit into that time."""
    products = found["products and epilogue"]
    rest = sum(found[name] for name in ("norms", "quantisation", "attention"))
    if batch > 1:
        return CORES * CLOCK / (products + rest)
    share = length / CORES / CLOCK
    return length / (max(WEIGHTS / READ, products * share) + rest * share)


def _has(loop: Loop, *names: str) -> bool:
    return all(loop.count(name) for name in names)


def _product(code: Compiled, product: Product) -> float:
    """Of one row: 32 rows by 32 columns, a chunk of k after the other, between the steps the epilogue of others."""
    tall = [loop for loop in loops(code.assembly, "tdpbusd") if loop.count("tdpbusd") == 4]
    own = [loop for loop in tall if product.function in loop.function and _epilogues(code, loop)]
    if len(own) <= product.which:
        raise ValueError(f"no tile for {product.function}: the code has changed, and this model has to follow.")
    step = own[product.which]
    steps, rows = product.k // 64, 128
    every = -(-rows // (4 * steps))  # rows that are turned into floats in a step
    share = rows / (every * 4 * steps)  # of the steps, that have any
    chunks = -(-product.k // 768)
    busy, idle = (_chunk(code, step, count, chunks > 1) for count in (every, 0))
    return (product.n / 32) * chunks * (share * busy + (1 - share) * idle) / 32


def _epilogues(code: Compiled, step: Loop) -> list[Loop]:
    """The loop, if it has one of its own, of the function that a step calls."""
    called = {instruction.split()[1].removesuffix("@PLT") for instruction in step.instructions if "call" in instruction}
    return [loop for loop in code.loops if loop.function in called]


def _chunk(code: Compiled, step: Loop, rows: int, more: bool) -> float:
    """Twelve steps, and sums stored and begun anew or taken up again."""
    inner: list[str] = []
    for instruction in step.instructions:
        if opcode(instruction) != "call":
            inner.append(instruction)
            continue
        (turn,) = _epilogues(code, step)
        inner += [each for each in code.bodies[turn.function] if opcode(each) != "ret"] if rows else []
        inner += list(turn.instructions) * (2 * rows - 1 if rows else 0)
    ends = [f"tilestored %tmm{tile}, (%r15,%r14,1)" for tile in range(4)]
    begins = [f"tileloadd (%r13,%r14,1), %tmm{tile}" if more else f"tilezero %tmm{tile}" for tile in range(4)]
    report = cycles((*begins, *inner * 12, *ends), TILES)
    return max(report, 12 * 4 * model.TILE_PEAK)


def _rows(code: Compiled) -> tuple[float, float]:
    """Norms and quantisation of a token in a layer."""
    squares = code.cycles("squares", lambda loop: _has(loop, "vfmadd231ps", "vmovups") and len(loop.instructions) <= 6)
    scaled = code.cycles("a norm", lambda loop: loop.count("vmulps") == 2 and _has(loop, "vmovups"), "feed_forward")
    largest = code.cycles("the largest of a row", lambda loop: loop.count("vmaxps") == 4) / 4
    quantized = code.cycles("quantisation", lambda loop: _has(loop, "vpmovdb"))
    vectors = (3 * D + D_FF) / VECTOR
    return 2 * (D / VECTOR * (squares + scaled) + ROW), vectors * (largest + quantized) + 4 * ROW


def _attention(code: Compiled, length: int) -> float:
    """One head of one token, as a key, a value and a query."""
    keys = -(-length // 64) * 64
    highest = code.loop("a head's largest", lambda loop: _has(loop, "vpandd", "vmaxps"), "atten")
    largest = cycles(highest.instructions * 4) / 4 / 3  # rows are so short that three and more are under way at once
    words = code.cycles("words", lambda loop: _has(loop, "vpmovdw") and not _has(loop, "vfmadd132ps"))
    turned = code.cycles("keys", lambda loop: _has(loop, "vpmovwb") and len(loop.instructions) > 60)
    packed = code.cycles("values", lambda loop: _has(loop, "vpmovzxwd", "vpternlogd"), "atten")
    arranged = code.cycles("bytes", lambda loop: _has(loop, "vpmovwb"))
    scores = code.cycles("scores", lambda loop: _has(loop, "vfmadd213ps", "vmaxps"), "atten")
    powers = code.cycles("powers", lambda loop: _has(loop, "vpslld", "vsubps", "vmaxps"), "atten")
    weights = code.cycles("weights", lambda loop: _has(loop, "vpmovdw", "vfmadd132ps"), "atten")
    context = code.cycles(
        "the context", lambda loop: _has(loop, "vcvtdq2ps", "vmulps") and not _has(loop, "vfmadd132ps"), "atten"
    )
    as_words = 3 * (D_KV / VECTOR * (largest + words) + ROW) + turned + packed + arranged
    softmax = keys / VECTOR * (scores + powers + weights) + keys / 64 * arranged + 2 * ROW
    tiles = keys / VECTOR * _tile(code, 1) + D_KV / VECTOR * _tile(code, keys // 64)
    return as_words + softmax + tiles / 16 + D_KV / VECTOR * context


def _tile(code: Compiled, steps: int) -> float:
    """16 queries by 16 columns: products of bytes, stored, and put together."""
    step = loops(code.assembly, "tdpbssd")[0].instructions
    combined = code.loop("words of bytes", lambda loop: loop.count("vpslld") == 2 and len(loop.instructions) < 15)
    begins = [f"tilezero %tmm{tile}" for tile in range(4)]
    ends = [f"tilestored %tmm{tile}, (%r15,%r14,1)" for tile in range(4)]
    return cycles((*begins, *step * steps, *ends, *combined.instructions * 16), TILES)
