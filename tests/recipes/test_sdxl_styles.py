"""SDXL through the real script: two styles, both text encoders, kohya's names, other programs."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.history import history
from museum_plugin.museum.store import open_museum
from museum_plugin.train import loop
from tests.recipes.conftest import Teach
from tests.recipes.school import TRIGGERS, School, same
from tests.sdxl_models import write_tiny_sdxl

KEYS = ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "lora_unet_output_blocks_5_1_proj_out",
         "lora_unet_middle_block_1_transformer_blocks_1_ff_net_0_proj",
         "lora_te1_text_model_encoder_layers_0_mlp_fc1",
         "lora_te2_text_model_encoder_layers_2_self_attn_q_proj")  # fmt: skip


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sdxl(tmp_path_factory.mktemp("bases") / "sdxl")


@pytest.fixture
def xl(sdxl: Path, pictures: Path, tmp_path: Path) -> School:
    return School(sdxl, pictures, tmp_path)


def prediction(base: BaseModel, prompt: str) -> Tensor:
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return Denoiser(base).predict(noisy, torch.tensor([600]), encode_prompts(base, [prompt]))


def numbers(school: School) -> dict[str, Tensor]:
    content = read_museum(school.museum)
    slots = {f"{style} {part}": v for style, vectors in content.slots.items() for part, v in vectors.items()}
    return {**content.lora, **slots}


def test_two_styles_are_taught_with_both_encoders(xl: School, teach: Teach, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ("a red cat", f"a red cat in {TRIGGERS['ink']} style")
    first = teach(xl.command("--text_encoder_lr", "0.01", "0.02", "--gradient_checkpointing"))
    assert (first.code, first.errors) == (0, [])
    base = load_base(xl.base)
    with open_museum(xl.museum, base).attached():
        before = [prediction(base, prompt) for prompt in prompts]
    at_start: list[list[Tensor]] = []
    begin: Callable[..., object] = loop.begin_style

    def watched(room: loop.Classroom, *rest: object) -> object:
        at_start.append([prediction(room.museum.base, prompt) for prompt in prompts])
        return begin(room, *rest)

    monkeypatch.setattr(loop, "begin_style", watched)
    second = teach(xl.command("--text_encoder_lr", "0.01", "0.02", styles=("ink", "neon")))

    assert (second.code, second.errors) == (0, [])
    assert all(torch.equal(one, other) for one, other in zip(at_start[0], before, strict=True)), "step 0 is another"
    content, earlier = read_museum(xl.museum), read_museum(history(xl.museum)[-1].path)
    assert content.ledger.base.family == "sdxl"
    assert {name: tuple(v.shape) for name, v in content.slots["neon"].items()} == {"clip_l": (1, 8), "clip_g": (1, 12)}
    assert same(earlier.slots["ink"], content.slots["ink"]), "the old slot was changed"
    assert set(KEYS) <= set(content.ledger.network.targets)
    moved = {name for name in earlier.lora if not torch.equal(earlier.lora[name], content.lora[name])}
    for start in ("lora_unet_", "lora_te1_", "lora_te2_"):
        assert any(name.startswith(start) for name in moved), start
    verdict = content.ledger.styles[-1].scores
    assert set(verdict) == {"ink", "neon"}


def test_the_lora_is_the_same_in_diffusers(xl: School, teach: Teach) -> None:
    """Without slots, which diffusers does not read from a LoRA; text encoders and convolutions too."""
    flags = ("--text_encoder_lr=0.05", "--network_args", "conv_dim=2", "conv_alpha=1", "--learning_rate=0.05")
    assert teach(xl.command("--output_name=mine", *flags, museum=False)).code == 0
    file = xl.folder / "out" / "mine.safetensors"
    base = load_base(xl.base)
    bare = prediction(base, "a red cat")
    with open_museum(file, base).attached():
        ours = prediction(base, "a red cat")

    pipe = StableDiffusionXLPipeline.from_pretrained(xl.base)
    pipe.load_lora_weights(file)
    seen: list[Tensor] = []
    text = pipe.encode_prompt("a red cat", do_classifier_free_guidance=False)
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        added = {"text_embeds": text[2], "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
        seen.append(pipe.unet(noisy, 600, text[0], added_cond_kwargs=added).sample)

    assert (ours - bare).abs().max() > 1e-3
    torch.testing.assert_close(seen[0], ours, atol=1e-4, rtol=1e-4)


def test_a_broken_off_style_goes_on_exactly(
    xl: School, teach: Teach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--text_encoder_lr=0.01", "--flip_aug")
    unbroken = School(xl.base, xl.pictures, tmp_path / "unbroken")
    unbroken.folder.mkdir()
    assert teach(unbroken.command(*flags)).code == 0
    student_pass, passes = loop.student_pass, []

    def signalled(*arguments: object) -> object:
        passes.append(1)
        if len(passes) == 2:
            signal.raise_signal(signal.SIGINT)
        return student_pass(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(loop, "student_pass", signalled)
        assert teach(xl.command(*flags)).code == 130
    assert xl.checkpoint.exists()

    assert teach(xl.command(*flags)).code == 0

    assert same(numbers(xl), numbers(unbroken))


def test_the_convolutions_have_the_names_of_the_original_code(xl: School, teach: Teach) -> None:
    assert teach(xl.command("--network_args", "conv_dim=1", "--method=finetune", "--max_train_steps=1")).code == 0
    targets = read_museum(xl.museum).ledger.network.targets
    expected = (
        "input_blocks_3_0_op",
        "output_blocks_2_2_conv",
        "input_blocks_1_0_in_layers_2",
        "input_blocks_4_0_skip_connection",
        "middle_block_2_out_layers_3",
        "output_blocks_8_0_emb_layers_1",
    )
    assert {f"lora_unet_{key}" for key in expected} <= set(targets)
    assert all(re.match(r"lora_unet_(input_blocks|output_blocks|middle_block)_", key) for key in targets)
