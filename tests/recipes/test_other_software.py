"""What other software makes of a file: diffusers' own LoRA loader gives the same predictions as we do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import load_base
from museum_plugin.museum.store import open_museum
from tests.recipes.conftest import Teach
from tests.recipes.school import School

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
PROMPT = "a red cat in a meadow"


def inputs() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(2)
    return torch.randn(2, 4, 8, 8, generator=rng), torch.tensor([100, 700])


@torch.no_grad()
def ours(base: Path, museum: Path | None) -> Tensor:
    model = load_base(base)
    noisy, t = inputs()
    if museum is None:
        return Denoiser(model).predict(noisy, t, encode_prompts(model, [PROMPT] * 2))
    with open_museum(museum, model).attached():
        return Denoiser(model).predict(noisy, t, encode_prompts(model, [PROMPT] * 2))


@torch.no_grad()
def theirs(base: Path, museum: Path) -> Tensor:
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    pipeline.load_lora_weights(museum.parent, weight_name=museum.name)
    noisy, t = inputs()
    states, _ = pipeline.encode_prompt([PROMPT] * 2, "cpu", 1, False)
    return pipeline.unet(noisy, t, states).sample


@pytest.mark.parametrize("text_encoder_lr", ["0", "0.02"])
@pytest.mark.parametrize("kind", ["plain LoRA", "museum"])
def test_diffusers_applies_a_file_as_we_do(school: School, teach: Teach, kind: str, text_encoder_lr: str) -> None:
    flags = [f"--text_encoder_lr={text_encoder_lr}", "--network_alpha=1.5", "--learning_rate=0.03", "--method=finetune"]
    if kind == "museum":
        assert teach(school.command(*flags, styles=("ink", "neon"))).code == 0
    else:
        assert teach(school.command(*flags, museum=False)).code == 0

    expected = ours(school.base, school.museum)

    assert (theirs(school.base, school.museum) - expected).abs().max() < 1e-5
    assert (ours(school.base, None) - expected).abs().max() > 1e-3, "the LoRA does nothing, so nothing was tested"


def test_a_plain_lora_is_in_kohya_format(school: School, teach: Teach) -> None:
    assert teach(school.command("--network_alpha=1.5", museum=False)).code == 0

    with safe_open(school.museum, "pt") as file:
        metadata, names = file.metadata(), set(file.keys())
        alphas = {file.get_tensor(name).item() for name in names if name.endswith(".alpha")}
    modules = {name.partition(".")[0] for name in names}
    assert all(module.startswith("lora_unet_") for module in modules)
    assert {name.partition(".")[2] for name in names} == {"lora_down.weight", "lora_up.weight", "alpha"}
    assert alphas == {1.5}
    assert metadata["ss_network_module"] == "networks.lora"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("2", "1.5")
