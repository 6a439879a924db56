"""Which switches save memory, in the order in which to flip them: first those that leave the result as it is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from museum_plugin.config.schema import RunConfig
from museum_plugin.config.schema.base import AUTO, SWAPPED_AT_ONCE
from museum_plugin.config.schema.data import VARIED
from museum_plugin.methods import build_terms
from museum_plugin.methods.method import Reads
from museum_plugin.train.forecast import Forecast, Forecaster


@dataclass(frozen=True)
class Switch:
    """One way to need less memory."""

    keeps_result: bool
    """Whether a run ends with the same numbers."""
    flip: Callable[[RunConfig], tuple[str, RunConfig] | None]
    """The run with it, and what a user types for that; None where it does not apply, or is on already."""


@dataclass(frozen=True)
class Rung:
    """A run after one more switch."""

    flag: str
    keeps_result: bool
    run: RunConfig
    forecast: Forecast


def _cache_latents(run: RunConfig) -> tuple[str, RunConfig] | None:
    subsets = [subset for style in run.styles for dataset in style.datasets for subset in dataset.subsets]
    cached = run.training.cache_latents or run.training.cache_latents_to_disk
    if cached or any(getattr(subset, name) for subset in subsets for name in VARIED):
        return None
    return "--cache_latents", replace(run, training=replace(run.training, cache_latents=True))


def _replay_apart(run: RunConfig) -> tuple[str, RunConfig] | None:
    terms = build_terms(run.method.name, run.method.weights).values()
    if run.replay.apart or run.output.museum is None or all(term.reads is not Reads.BANK for term, _ in terms):
        return None
    return "--replay_apart", replace(run, replay=replace(run.replay, apart=True))


def _checkpointing(run: RunConfig) -> tuple[str, RunConfig] | None:
    if run.base.gradient_checkpointing:
        return None
    return "--gradient_checkpointing", replace(run, base=replace(run.base, gradient_checkpointing=True))


def _offloaded(run: RunConfig) -> tuple[str, RunConfig] | None:
    if run.base.cpu_offload_checkpointing:
        return None
    base = replace(run.base, gradient_checkpointing=True, cpu_offload_checkpointing=True)
    return "--cpu_offload_checkpointing", replace(run, base=base)


def _eight_bit_optimizer(run: RunConfig) -> tuple[str, RunConfig] | None:
    eight = {"adamw": "AdamW8bit", "lion": "Lion8bit"}.get(run.optimizer.name.lower())
    if eight is None or importlib.util.find_spec("bitsandbytes") is None:
        return None
    return f"--optimizer_type={eight}", replace(run, optimizer=replace(run.optimizer, name=eight))


def _half_precision(run: RunConfig) -> tuple[str, RunConfig] | None:
    if run.base.mixed_precision != "no" or run.base.precision not in ("auto", "fp32"):
        return None
    base = replace(run.base, mixed_precision="bf16", precision="auto")
    return "--mixed_precision=bf16", replace(run, base=base)


def _base_in_fp8(run: RunConfig) -> tuple[str, RunConfig] | None:
    if run.base.torch_compile or run.base.precision in ("fp8", "int8", "nf4"):
        return None
    return "--base_precision=fp8", replace(run, base=replace(run.base, precision="fp8", channels_last=False))


def _base_in_nf4(run: RunConfig) -> tuple[str, RunConfig] | None:
    if run.base.torch_compile or run.base.precision == "nf4" or importlib.util.find_spec("bitsandbytes") is None:
        return None
    return "--base_precision=nf4", replace(run, base=replace(run.base, precision="nf4", channels_last=False))


def _one_picture(run: RunConfig) -> tuple[str, RunConfig] | None:
    if all(dataset.batch_size == 1 for style in run.styles for dataset in style.datasets):
        return None
    styles = tuple(
        replace(style, datasets=tuple(replace(dataset, batch_size=1) for dataset in style.datasets))
        for style in run.styles
    )
    return "--train_batch_size=1", replace(run, styles=styles)


SWITCHES: tuple[Switch, ...] = (
    Switch(True, _cache_latents),
    Switch(True, _replay_apart),
    Switch(True, _checkpointing),
    Switch(True, _offloaded),
    Switch(False, _eight_bit_optimizer),
    Switch(False, _half_precision),
    Switch(False, _base_in_fp8),
    Switch(False, _one_picture),
    Switch(False, _base_in_nf4),
)
"""In the order in which they are flipped."""


def next_switch(run: RunConfig, *, keeping_result: bool, blocks: int = 0) -> tuple[str, RunConfig] | None:
    """The first switch that is not flipped yet: what a user types for it, and the run with it.

    Args:
        keeping_result: only switches that promise the same result.
        blocks: of the U-Net, that can be swapped: half of them, then all.
    """
    keeping = [switch.flip for switch in SWITCHES if switch.keeps_result]
    others = [switch.flip for switch in SWITCHES if not switch.keeps_result and not keeping_result]
    flipped = (flip(run) for flip in (*keeping, lambda run: _swap_more(run, blocks), *others))
    return next((found for found in flipped if found is not None), None)


def _swap_more(run: RunConfig, blocks: int) -> tuple[str, RunConfig] | None:
    found_out = run.base.blocks_to_swap == AUTO  # then some are swapped already
    counts = (blocks,) if found_out else (blocks // 2, blocks)
    count = next((count for count in counts if count > run.base.swapped), 0)
    if count <= SWAPPED_AT_ONCE or run.base.torch_compile:
        return None
    return f"--blocks_to_swap={count}", replace(run, base=replace(run.base, blocks_to_swap=count))


_LEAST_SAVED = 0.01
"""Share of the memory that a switch has to save to be worth a flip."""


def rungs(forecaster: Forecaster, run: RunConfig, card: int) -> Iterator[Rung]:
    """Flip one switch after another until the run fits a card of so many bytes, or none is left.

    A switch that saves hardly anything here is passed over. Swapped blocks come after all else that keeps the result,
    and only as many as it takes.
    """
    before, keeping = forecaster.forecast(run), [switch for switch in SWITCHES if switch.keeps_result]
    flips = [(switch.keeps_result, switch.flip) for switch in SWITCHES]
    flips.insert(len(keeping), (True, lambda run: _with_swapped_blocks(forecaster, run, card)))
    for keeps, flip in flips:
        if before.fits(card):
            return
        flipped = flip(run)
        if flipped is None:
            continue
        after = forecaster.forecast(flipped[1])
        if after.total > before.total * (1 - _LEAST_SAVED):
            continue
        run, before = flipped[1], after
        yield Rung(flipped[0], keeps, run, after)


def _with_swapped_blocks(forecaster: Forecaster, run: RunConfig, card: int) -> tuple[str, RunConfig] | None:
    count = None if run.base.torch_compile else forecaster.blocks_to_swap(run, card)
    if count is None or count <= run.base.swapped:
        return None
    return f"--blocks_to_swap={count}", replace(run, base=replace(run.base, blocks_to_swap=count))
