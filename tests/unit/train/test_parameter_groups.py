"""Which parameters learn at which rate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from museum_plugin.base.load import BaseModel
from museum_plugin.config.schema import NetworkArguments, NetworkConfig, OptimizerConfig, SlotConfig
from museum_plugin.train.parameter_groups import parameter_groups
from tests.tiny_museums import WORDS, tiny_museum

UNET, TEXT = 1e-3, 1e-4


def rates_of(base: BaseModel, *, style: str | None = None, **arguments: object) -> dict[str, float]:
    """Name of each parameter -> its rate."""
    museum = tiny_museum(base, with_text_encoder=True)
    if style:
        museum.slots.open(style, (WORDS[style],), (5,), "own")
    run: Any = SimpleNamespace(
        network=NetworkConfig(train_text_encoder=True, arguments=NetworkArguments(**arguments)),  # type: ignore[arg-type]
        optimizer=OptimizerConfig(unet_learning_rate=UNET, text_encoder_learning_rate=(TEXT, 7.0)),
        slot=SlotConfig(learning_rate=0.5),
    )
    names = {id(p): name for name, p in museum.network.named_parameters()}
    names |= {id(p): "slot" for p in museum.open_parameters(style)}
    groups = parameter_groups(run, museum, style)
    found = [(names[id(p)], group["lr"]) for group in groups for p in group["params"]]
    assert len(found) == len(dict(found)) == len(names), "each parameter once"
    return dict(found)


def test_unet_text_encoder_and_slot_have_their_own_rates(base: BaseModel) -> None:
    rates = rates_of(base, style="ink")
    assert rates.pop("slot") == 0.5
    assert {rate for name, rate in rates.items() if name.startswith("lora_unet_")} == {UNET}
    assert {rate for name, rate in rates.items() if name.startswith("lora_te_")} == {TEXT}


def test_lora_plus_moves_the_ups_faster(base: BaseModel) -> None:
    rates = rates_of(base, loraplus_lr_ratio=4.0, loraplus_text_encoder_lr_ratio=2.0)
    for part, rate, ratio in (("lora_unet_", UNET, 4), ("lora_te_", TEXT, 2)):
        assert {rates[name] for name in rates if name.startswith(part) and name.endswith("down")} == {rate}
        assert {rates[name] for name in rates if name.startswith(part) and name.endswith("up")} == {rate * ratio}


def test_each_block_has_its_factor(base: BaseModel) -> None:
    rates = rates_of(
        base, down_lr_weight=(1.0, 0.5), mid_lr_weight=(2.0,), up_lr_weight="linear", loraplus_lr_ratio=3.0
    )
    attention = "attentions_0_proj_in"
    assert rates[f"lora_unet_down_blocks_0_{attention}.down"] == UNET * 0.5
    assert rates[f"lora_unet_mid_block_{attention}.down"] == UNET * 2
    assert rates[f"lora_unet_up_blocks_3_{attention}.down"] == pytest.approx(UNET * 9 / 11)
    assert rates[f"lora_unet_up_blocks_3_{attention}.up"] == pytest.approx(UNET * 27 / 11)
