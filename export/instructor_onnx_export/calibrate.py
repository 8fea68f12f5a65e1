"""Outlier migration: channels of an activation that dwarf the rest are scaled down, their weights up.

SmoothQuant (Xiao et al. 2023, section 4), for every product of a T5 layer and at no cost when the model runs:
a channel's scale goes into whatever makes the channel. For q, k, v and wi that is the gain of the norm before them;
for o it is the rows of v (attention mixes tokens, never channels); for wo the rows of wi (ReLU commutes with a
positive scale) or of wi_1. In fp32 the model stays the same; in int8 the steps fit every channel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from instructor_onnx.bundle import InstructorOnnxError
from instructor_onnx.inputs import Row, as_row

from instructor_onnx_export.checkpoint.config import Config
from instructor_onnx_export.checkpoint.names import block_names
from instructor_onnx_export.oracle import Oracle

CALIBRATION_TEXTS = Path(__file__).with_name("calibration.jsonl")
# Share of an outlier that is moved into the weights; 0.5 splits it evenly. Each product takes what suits it best.
STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SAMPLED_TOKENS = 192  # rows of an activation that the strengths are tried on
QUIET = 0.1  # share of the median magnitude that every channel is credited with
TRIED_AT_ONCE = 1 << 22  # weights
FLOOR = 1e-8  # for activations that are all zero


class CalibrationError(InstructorOnnxError):
    """A file of calibration texts that cannot be used; names the line and what was expected."""


@dataclass
class Observed:
    """What was seen of the inputs of one product."""

    largest: torch.Tensor  # [in], largest magnitude of each channel, over all tokens
    sample: torch.Tensor  # [tokens, in], a few of the rows


def read_rows(path: Path = CALIBRATION_TEXTS) -> list[Row]:
    """Calibration texts: JSON lines, each a string, [instruction, text] or {"instruction": ..., "text": ...}.

    Raises:
        CalibrationError: names the line.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(as_row(json.loads(line), number))
        except (ValueError, TypeError, RecursionError) as error:
            raise CalibrationError(
                f"{path}, line {number}: {error}; expected JSON, a string, [instruction, text] or an object."
            ) from None
    if not rows:
        raise CalibrationError(f"{path}: no texts. A few dozen that are like those to be embedded will do.")
    return rows


def products(config: Config) -> Iterator[tuple[str, list[str], bool]]:
    """Every quantised input: the name of the module that reads it, all weights that do, and whether it is >= 0."""
    for names in block_names(config):
        yield _module(names.q), [names.q, names.k, names.v], False
        yield _module(names.o), [names.o], False
        first = [names.wi] if names.gate is None else [names.gate, names.wi]
        yield _module(first[0]), first, False
        yield _module(names.wo), [names.wo], names.gate is None


def _makers(config: Config) -> Iterator[str]:
    """What makes the channels of each of `products`: the gain of the norm, or the weight whose rows they are."""
    for names in block_names(config):
        yield from (names.attention_norm, names.v, names.feed_forward_norm, names.wi)


def _module(weight: str) -> str:
    return weight.removesuffix(".weight")


def observe(
    oracle: Oracle, config: Config, rows: list[Row], on_row: Callable[[], object]
) -> tuple[dict[str, Observed], float]:
    """Run `rows` through the oracle: what is seen of the inputs of every product, and the vectors' largest number."""
    observed: dict[str, Observed] = {}
    per_row = -(-SAMPLED_TOKENS // len(rows))

    def watch(name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor]], None]:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
            tokens = inputs[0].reshape(-1, inputs[0].shape[-1])  # [tokens, in]
            largest = tokens.abs().amax(dim=0)
            few = tokens[torch.linspace(0, len(tokens) - 1, min(per_row, len(tokens))).long()]
            seen = observed.get(name)
            if seen is not None:
                largest, few = torch.maximum(largest, seen.largest), torch.cat([seen.sample, few])
            observed[name] = Observed(largest, few)

        return hook

    modules = dict(oracle.encoder.named_modules())
    handles = [modules[name].register_forward_pre_hook(watch(name)) for name, _, _ in products(config)]
    highest = 0.0
    for row in rows:
        [(vector, _)] = oracle.encode([row])
        highest = max(highest, float(abs(vector).max()))
        on_row()
    for handle in handles:
        handle.remove()
    return observed, highest


def samples(observed: Mapping[str, Observed], config: Config) -> dict[str, torch.Tensor]:
    """Inputs seen of each product, [tokens, in], by the name of its weight in the graph."""
    by_weight = {name: observed[module].sample for module, readers, _ in products(config) for name in readers}
    return by_weight | {names.qkv: by_weight[names.q] for names in block_names(config)}


class Smoothed(Mapping[str, torch.Tensor]):
    """The weights of a checkpoint with outliers migrated; made when asked for, one at a time."""

    def __init__(
        self, weights: Mapping[str, torch.Tensor], columns: dict[str, torch.Tensor], rows: dict[str, torch.Tensor]
    ) -> None:
        self._weights = weights
        self._columns = columns  # weight [out, in] -> factors [in]
        self._rows = rows  # weight [out, in] or gain [out] -> divisors [out]

    def __getitem__(self, name: str) -> torch.Tensor:
        weight = self._weights[name]
        if name in self._columns:
            weight = weight.float() * self._columns[name]
        if name in self._rows:
            divisors = self._rows[name]
            weight = weight.float() / (divisors[:, None] if weight.dim() == 2 else divisors)
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def smooth(
    weights: Mapping[str, torch.Tensor],
    config: Config,
    observed: Mapping[str, Observed],
    on_product: Callable[[], object],
) -> Smoothed:
    """Choose a scale for every channel of every product."""
    columns: dict[str, torch.Tensor] = {}
    rows: dict[str, torch.Tensor] = {}
    for (module, readers, positive), maker in zip(products(config), _makers(config), strict=True):
        scale = best_scale([weights[name] for name in readers], observed[module], positive)
        for name in readers:
            columns[name] = scale
        rows[maker] = scale
        on_product()
    return Smoothed(weights, columns, rows)


def best_scale(weights: list[torch.Tensor], observed: Observed, positive: bool) -> torch.Tensor:
    """The scale of each input channel, [in], that leaves the smallest error on the sampled tokens."""
    scales = scales_to_try(weights, observed)
    errors = squared_errors(weights, observed, positive, scales)
    return scales[errors.index(min(errors))]


def scales_to_try(weights: list[torch.Tensor], observed: Observed) -> list[torch.Tensor]:
    """Each [in]: the one that moves nothing, then one for each of `STRENGTHS`."""
    reach = _floored(torch.stack([weight.float().abs().amax(dim=0) for weight in weights]).amax(dim=0))
    largest = _floored(observed.largest)
    scales = [torch.ones_like(reach), *(largest**share / reach ** (1 - share) for share in STRENGTHS)]
    return [scale / scale.log().mean().exp() for scale in scales]  # a common size changes nothing


def squared_errors(
    weights: list[torch.Tensor], observed: Observed, positive: bool, scales: list[torch.Tensor]
) -> list[float]:
    """Squared error of the quantised product on the sampled tokens, for each scale."""
    errors = [0.0] * len(scales)
    for weight in weights:
        # In blocks: a wide layer in fp32, several times over, would be the peak of an export.
        for block in torch.split(weight, max(1, TRIED_AT_ONCE // weight.shape[1])):
            exact = observed.sample @ block.float().T
            for index, scale in enumerate(scales):
                product = _rounded(observed.sample / scale, positive) @ _rounded(block.float() * scale, False).T
                errors[index] += float((product - exact).square().sum())
    return errors


def _floored(x: torch.Tensor) -> torch.Tensor:
    """A channel that the calibration texts left silent may speak in others: it is taken for a quiet one."""
    return x.clamp(min=max(float(x.median()) * QUIET, FLOOR))


def _rounded(x: torch.Tensor, positive: bool) -> torch.Tensor:
    """x [rows, in] after quantisation with one scale per row, as graph/int8.py does it."""
    levels = 255 if positive else 127
    step = x.abs().amax(dim=1, keepdim=True).clamp(min=FLOOR) / levels
    return (x / step).round() * step
