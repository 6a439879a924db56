"""A museum whose rank was changed goes on learning."""

from __future__ import annotations

import torch

from museum_plugin.__main__ import main
from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Teach
from tests.recipes.school import School

LINEAR = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


def test_a_museum_is_taught_further_after_its_rank_was_raised(knows_ink: School, teach: Teach) -> None:
    school = knows_ink
    assert main(["resize", str(school.museum), "--rank=4"]) == 0
    raised = school.numbers()
    alpha = read_museum(school.museum).ledger.network.alpha
    command = school.command("--method=museum", "--max_train_steps=2", styles=("ink", "neon"))

    refused = teach([*command, "--network_dim=2", f"--network_alpha={alpha / 2}"])
    assert (refused.code, "this museum has network_dim 4, not 2; give 4" in refused.err) == (5, True)
    refused = teach([*command, "--network_dim=4", f"--network_alpha={alpha / 2}"])
    assert (refused.code, f"this museum has network_alpha {alpha:g}" in refused.err) == (5, True)
    assert teach([*command, "--network_dim=4", f"--network_alpha={alpha}"]).code == 0

    assert [record.name for record in read_museum(school.museum).ledger.styles] == ["ink", "neon"]
    found = school.numbers()
    assert raised[f"{LINEAR}.lora_up.weight"][:, 2:].abs().max() == 0
    assert found[f"{LINEAR}.lora_up.weight"][:, 2:].abs().max() > 1e-4  # the further rows learn
    assert torch.equal(found["slot ink"], raised["slot ink"])


def test_layers_of_many_ranks_are_taught_as_they_are(school: School, teach: Teach) -> None:
    arguments = ("--network_args", "conv_dim=2", "conv_alpha=1")
    quick = ("--method=finetune", "--max_train_steps=1", "--network_alpha=2")
    assert teach(school.command(*quick, *arguments)).code == 0
    assert main(["resize", str(school.museum), "--rank=1", "--conv_rank=3"]) == 0
    flags = (*quick, "--network_dim=1", "--network_alpha=1")
    assert teach(school.command(*flags, styles=("ink", "neon"))).code == 0
    record = read_museum(school.museum).ledger.network
    assert record.shape("lora_unet_mid_block_resnets_0_conv1") == (3, 1.5)
    assert (record.rank, record.shaped_by) == (1, "resize")
