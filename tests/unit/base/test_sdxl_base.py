"""SDXL as a folder and as a checkpoint file; against diffusers and transformers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file
from torch import Tensor, nn

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts, pooled_text
from museum_plugin.base.family import SDXL
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.outline import outline_fingerprint, read_outline
from museum_plugin.base.sampler import SamplingPlan, sample_latents
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import BaseModelError
from tests.original_layout import Tensors, original_vae
from tests.sdxl_models import TRUE, sdxl_tensors, write_tiny_sdxl

LONG = " ".join(["cat dog"] * 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sdxl(tmp_path_factory.mktemp("sdxl") / "true", TRUE)


@pytest.fixture(scope="module")
def base(folder: Path) -> BaseModel:
    return load_base(folder)


@pytest.fixture(scope="module")
def tensors(folder: Path) -> Tensors:
    return {name: tensor.contiguous() for name, tensor in sdxl_tensors(folder).items()}


@pytest.fixture
def place(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    return tmp_path


def write(file: Path, tensors: Tensors, dtype: torch.dtype) -> Path:
    found = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    if file.suffix == ".ckpt":
        torch.save({"state_dict": found}, file)
    else:
        save_file(found, file)
    return file


def parts(base: BaseModel) -> tuple[nn.Module, ...]:
    return (base.unet, base.vae, *base.text_encoders)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("m.safetensors", torch.float16), ("m.safetensors", torch.float32), ("m.ckpt", torch.float16)],
)
def test_a_file_is_the_same_model_as_its_folder(
    base: BaseModel, tensors: Tensors, place: Path, name: str, dtype: torch.dtype
) -> None:
    found = load_base(write(place / name, tensors, dtype))

    assert (found.family, found.prediction_type, found.fingerprint) == (SDXL, "epsilon", base.fingerprint)
    assert found.vae.config.scaling_factor == 0.13025
    for own, other in zip(parts(found), parts(base), strict=True):
        one, two = own.state_dict(), other.state_dict()
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert torch.equal(prediction(found), prediction(base))
    assert [tokenizer.pad_token_id for tokenizer in found.tokenizers] == [base.tokenizers[0].eos_token_id, 0]


def test_bfloat16_is_read(base: BaseModel, tensors: Tensors, place: Path) -> None:
    found = load_base(write(place / "m.safetensors", tensors, torch.bfloat16))
    torch.testing.assert_close(prediction(found), prediction(base), atol=0.05, rtol=0.05)


def test_an_outline_says_the_same_without_reading_numbers(
    folder: Path, base: BaseModel, tensors: Tensors, place: Path
) -> None:
    for path in (folder, write(place / "m.safetensors", tensors, torch.float16)):
        outline = read_outline(BaseConfig(path))
        assert (outline.family, outline.text_layers, len(outline.tokenizers)) == (SDXL, 3, 2)
        assert outline_fingerprint(outline) == base.fingerprint


@torch.no_grad()
def prediction(base: BaseModel, prompt: str = "a red cat", sizes: Tensor | None = None) -> Tensor:
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    return Denoiser(base).predict(noisy, torch.tensor([600]), encode_prompts(base, [prompt]), sizes)


def test_a_prediction_is_that_of_the_pipeline(folder: Path, base: BaseModel) -> None:
    """Every step of diffusers' own sampling, with guidance, from its own text states and sizes."""
    pipe = StableDiffusionXLPipeline.from_pretrained(folder)
    seen: list[tuple[Tensor, int, Tensor]] = []

    def watch(_module: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor]) -> None:
        seen.append((inputs[0], int(inputs[1]), output[0]))

    unet = pipe.unet.register_forward_hook(watch)
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    pipe.set_progress_bar_config(disable=True)
    pipe("a red cat", negative_prompt="", height=64, width=64, num_inference_steps=3, latents=start,
         guidance_scale=4.0, output_type="latent")  # fmt: skip
    unet.remove()

    denoiser, text = Denoiser(base), encode_prompts(base, ["", "a red cat"])
    assert len(seen) == 3
    for x, t, expected in seen:
        with torch.no_grad():
            found = denoiser.predict(x, torch.tensor([t, t]), text)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("clip_skip", [1, 2])
def test_states_are_the_last_layers_but_one_side_by_side(base: BaseModel, clip_skip: int) -> None:
    first, second = base.text_encoders
    prompt = "a red cat!"
    ids = [tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids for tokenizer in base.tokenizers]
    end = len(base.tokenizers[0](prompt).input_ids) - 1
    assert ids[0][0, end + 1 :].unique().tolist() == [base.tokenizers[0].eos_token_id]
    assert ids[1][0, end + 1 :].unique().tolist() == [0]
    assert torch.equal(ids[0][0, : end + 1], ids[1][0, : end + 1])

    text = encode_prompts(base, [prompt], TextEncoding(clip_skip))

    hidden = [encoder(row, output_hidden_states=True) for encoder, row in zip((first, second), ids, strict=True)]
    assert torch.equal(text.states, torch.cat([out.hidden_states[-2] for out in hidden], dim=-1))
    expected = second.text_projection(hidden[1].last_hidden_state[:, end])
    assert text.pooled is not None
    torch.testing.assert_close(text.pooled, expected)
    torch.testing.assert_close(text.pooled, hidden[1].text_embeds)


@torch.no_grad()
@pytest.mark.parametrize("count", [2, 3])
def test_a_long_prompt_is_read_in_chunks_and_pooled_in_the_first(base: BaseModel, count: int) -> None:
    start, end = base.tokenizers[0].bos_token_id, base.tokenizers[0].eos_token_id
    tokens = base.tokenizers[0](LONG, add_special_tokens=False).input_ids
    expected = []
    for encoder, pad in zip(base.text_encoders, (end, 0), strict=True):
        rows = []
        for i in range(count):
            part = tokens[75 * i : 75 * i + 75]
            row = [start, *part] if part else [start, end]
            rows.append([*row, *([end] if part else []), *[pad] * 77][:77])
        states = encoder(torch.tensor(rows), output_hidden_states=True).hidden_states[-2]
        expected.append(torch.cat([states[0, :1], states[:, 1:-1].flatten(0, 1), states[-1, -1:]]))
        first = torch.tensor(rows[:1])

    text = encode_prompts(base, ["a cat", LONG], TextEncoding(max_token_length=75 * count))

    assert text.states.shape == (2, 75 * count + 2, 128)
    torch.testing.assert_close(text.states[1], torch.cat(expected, dim=-1), atol=1e-5, rtol=1e-5)
    assert text.pooled is not None
    torch.testing.assert_close(text.pooled[1:], base.text_encoders[1](first).text_embeds, atol=1e-5, rtol=1e-5)
    short = encode_prompts(base, ["a cat"])
    assert short.pooled is not None
    torch.testing.assert_close(text.pooled[:1], short.pooled, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_weights_of_words_count_in_the_states_of_both_but_not_in_the_pooled_text(base: BaseModel) -> None:
    plain = encode_prompts(base, ["a red cat"])
    found = encode_prompts(base, ["a (red cat:1.5)"], TextEncoding(weighted=True))
    weights = torch.ones(1, 77, 1)
    weights[:, 2:4] = 1.5
    torch.testing.assert_close(found.states, plain.states * weights)
    assert plain.pooled is not None
    assert found.pooled is not None
    torch.testing.assert_close(found.pooled, plain.pooled)


def test_states_of_another_type_than_the_weights_are_pooled_all_the_same(folder: Path) -> None:
    """Where a trainer's autocast has made float32 of what comes out of an encoder in bf16."""
    encoder = load_base(folder).text_encoders[1].bfloat16()
    states, ids = torch.randn(2, 77, encoder.config.hidden_size), torch.tensor([[5, 6] * 38 + [6]] * 2)
    pooled = pooled_text(encoder, states, ids, 6)
    expected = states[:, 1].bfloat16() @ encoder.text_projection.weight.T
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, expected.float(), atol=2e-2, rtol=2e-2)


def test_sizes_change_a_prediction_and_are_the_whole_picture_unless_told(base: BaseModel) -> None:
    usual = prediction(base)
    assert torch.equal(prediction(base, sizes=torch.tensor([[64.0, 64, 0, 0, 64, 64]])), usual)
    for place in range(6):
        sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]])
        sizes[0, place] += 32
        assert not torch.equal(prediction(base, sizes=sizes), usual)
    wide = torch.zeros(2, 4, 8, 16)
    assert Denoiser(base).whole_sizes(wide).tolist() == [[64, 128, 0, 0, 64, 128]] * 2


def test_pictures_are_drawn(base: BaseModel) -> None:
    plan = SamplingPlan(64, 96, steps=2)
    one = sample_latents(base, ["a red cat", "a dog"], [1, 2], plan)
    assert one.shape == (2, 4, 12, 8)
    assert torch.equal(one, sample_latents(base, ["a red cat", "a dog"], [1, 2], plan))
    assert not torch.equal(one, sample_latents(base, ["a red cat", "a cat"], [1, 2], plan))


@pytest.mark.parametrize(("marker", "asked"), [({"v_pred": torch.zeros(1)}, None), ({}, True)])
def test_a_model_that_predicts_v(tensors: Tensors, place: Path, marker: Tensors, asked: bool | None) -> None:
    file = write(place / "m.safetensors", tensors | marker, torch.float16)
    assert load_base(file, BaseConfig(file, v_parameterization=asked)).prediction_type == "v_prediction"


def test_what_is_expected_of_sd2_is_refused(folder: Path) -> None:
    with pytest.raises(BaseModelError, match="found an SDXL model, but v2 is true"):
        load_base(folder, BaseConfig(folder, v2=True))


def test_another_vae_has_sdxl_s_scale(folder: Path, place: Path) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in original_vae(folder / "vae").items()}, place / "v.safetensors"
    )
    base = load_base(folder, BaseConfig(folder, vae=place / "v.safetensors"))
    assert base.vae.config.scaling_factor == 0.13025


def test_what_is_missing_is_named(tensors: Tensors, place: Path) -> None:
    for start, message in (
        ("conditioner.embedders.1.", "holds no second text encoder"),
        ("conditioner.embedders.0.", "holds no first text encoder"),
        ("first_stage_model.", "holds no VAE"),
        ("conditioner.embedders.1.model.text_projection", "1 tensors of the text encoder are missing"),
        ("model.diffusion_model.label_emb.0.2.", "label_emb.0.2.weight' is missing"),
    ):
        left = {name: tensor for name, tensor in tensors.items() if not name.startswith(start)}
        with pytest.raises(BaseModelError, match=message):
            load_base(write(place / "m.safetensors", left, torch.float16))


def test_the_refiner_and_inpainting_models_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    refiner = tmp_path / "refiner"
    shutil.copytree(folder, refiner, ignore=shutil.ignore_patterns("text_encoder", "tokenizer"))
    with pytest.raises(BaseModelError, match="this is the refiner of SDXL"):
        load_base(refiner)
    inpainting = tmp_path / "inpainting"
    shutil.copytree(folder, inpainting)
    config = inpainting / "unet" / "config.json"
    config.write_text(
        config.read_text(encoding="utf-8").replace('"in_channels": 4', '"in_channels": 9'), encoding="utf-8"
    )
    with pytest.raises(BaseModelError, match="this is an inpainting model"):
        load_base(inpainting)


def test_a_tokenizer_of_other_words_is_refused(folder: Path, tmp_path: Path) -> None:
    from museum_plugin.pocket.vocabulary import build_tokenizer

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    build_tokenizer(("other",), copy / "tokenizer_2")
    with pytest.raises(BaseModelError, match="two tokenizers do not know the same words"):
        load_base(copy)


def test_a_pooled_text_of_another_width_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = copy / "unet" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace(": 1584", ": 1600"), encoding="utf-8")
    with pytest.raises(BaseModelError, match="takes a pooled text of width 64, the text encoder gives 48"):
        read_outline(BaseConfig(copy))
