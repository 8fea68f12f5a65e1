"""The model of the tiles' loops: which are found in an assembly, and what llvm-mca says of a small one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.common import PROJECT
from benchmarks.mca import __main__ as command
from benchmarks.mca import model, token
from benchmarks.mca.assembly import ARM_COMPILER, loops
from benchmarks.mca.tiles import ISAS, tiles

ARM_ASSEMBLY = """
_ZN4tileEv:
	cbz	x3, .L5
.L3:
	ldr	q0, [x1], 16   // a row
	.p2align 3
.L4:
	prfm	PLDL2KEEP, [x4]
	cmp	x4, x5
	bne	.L4
	ldr	q1, [sp, 96]
	smmla	v2.4s, v0.16b, v1.16b
	subs	x3, x3, 8
	bne	.L3
.L5:
	ret
_ZN4peakEv:
.L7:
	smmla	v2.4s, v0.16b, v1.16b
	b.gt	.L7
	ret
"""

X86_ASSEMBLY = """
tile:
.L2:
	movl	(%rcx), %edx
#APP
# 57 "amx.cpp" 1
	tileloadd	(%rsi,%r11,1), %tmm6
	tdpbusd	%tmm6, %tmm4, %tmm0
	tdpbusd	%tmm6, %tmm4, %tmm0
#NO_APP
	addq	$64, %rcx
	jne	.L2
	ret
.L9:
	{vex} vpdpbusd	%ymm0, %ymm1, %ymm2
	jmp	.L9
"""


def needs_llvm_mca() -> None:
    if shutil.which("llvm-mca") is None:
        pytest.skip("needs llvm-mca")


def test_a_loop_is_the_innermost_that_holds_the_instruction_with_what_is_within() -> None:
    first, second = loops(ARM_ASSEMBLY, "smmla")
    assert first.function == "_ZN4tileEv"
    assert [instruction.split()[0] for instruction in first.instructions] == [
        *("ldr", "prfm", "cmp", "bne", "ldr", "smmla", "subs", "bne")
    ]
    assert first.stack == 1
    assert second.function == "_ZN4peakEv"


def test_without_a_name_every_innermost_loop_is_found() -> None:
    assert [len(loop.instructions) for loop in loops(ARM_ASSEMBLY)] == [3, 2]
    assert [loop.count("vpdpbusd") for loop in loops(X86_ASSEMBLY)] == [0, 1]


def test_a_tile_has_as_many_rows_as_it_multiplies_and_what_measures_is_left_out() -> None:
    i8mm = next(isa for isa in ISAS if isa.name == "i8mm")
    step = "\tsmmla\tv2.4s, v0.16b, v1.16b\n" * 24
    assembly = f"tile:\n.L1:\n{step}\tbne\t.L1\npeak:\n.L2:\n{step}\tbne\t.L2\n"
    assert {rows: len(found) for rows, found in tiles(i8mm, assembly).items()} == {6: 1}


def test_products_of_one_amx_tile_of_sums_wait_for_each_other() -> None:
    needs_llvm_mca()
    (cost,) = model.costs(loops(X86_ASSEMBLY, "tdpbusd"), "icelake-server", arm=False)
    assert cost == model.Cost(2 * model.TILE_LATENCY, model.DEPENDENCIES)


def test_more_products_take_more_cycles() -> None:
    needs_llvm_mca()
    sums = [f"\tsmmla\tv{register}.4s, v0.16b, v1.16b\n" for register in range(2, 26)]
    few, many = (
        model.costs(loops(f"tile:\n.L1:\n{''.join(some)}\tbne\t.L1\n"), "neoverse-n1", arm=True)[0]
        for some in (sums[:12], sums)
    )
    assert 1.8 < many.cycles / few.cycles < 2.2


def test_a_processor_that_llvm_does_not_know_is_named() -> None:
    needs_llvm_mca()
    with pytest.raises(ValueError, match="does not know abacus"):
        model.costs(loops(ARM_ASSEMBLY), "abacus", arm=True)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["avx512vnni", "i8mm"])
def test_the_command_finds_every_height_of_a_tile(isa: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_llvm_mca()
    compiler = ARM_COMPILER if isa == "i8mm" else "c++"
    for tool in ("cmake", "ninja", compiler):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    out = tmp_path / "found.json"
    code = command.main(["--isa", isa, "--kernels", str(PROJECT / "kernels"), "--out", str(out)])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "nothing here was measured" in said.out
    lines = [line for line in json.loads(out.read_text())["tiles"] if not line["words"]]
    heights = {"avx512vnni": set(range(1, 13)), "i8mm": {2, 4, 6}}[isa]
    assert {line["rows"] for line in lines} == heights
    assert all(line["cycles"] > 0 for line in lines)


@pytest.mark.slow
def test_a_token_on_amx_has_all_its_stages_and_longer_texts_take_longer() -> None:
    needs_llvm_mca()
    for tool in ("cmake", "ninja", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    if not all(model.knows(name, arm=False) for name in (token.PROCESSOR, token.TILES)):
        pytest.skip("needs a newer llvm-mca")
    short, long = (token.stages(PROJECT / "kernels", length) for length in (64, 512))
    assert short["products and epilogue"] >= short["products alone"] > 0
    assert long["attention"] > short["attention"] > 0
    assert token.rate(long, 4, 512) < token.rate(short, 8, 64) < token.CORES * token.CLOCK / short["products alone"]
