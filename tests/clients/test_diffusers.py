"""diffusers with our exports: its own loading code, on bases with all keys."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file
from torch import Tensor

from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.sampler import SamplingPlan, sample_with
from museum_plugin.export.clients import verdicts
from museum_plugin.export.outline import read_outline
from museum_plugin.export.publish import Order, publish
from museum_plugin.export.targets import TARGETS
from museum_plugin.museum.keys import kohya_key, original_path
from museum_plugin.museum.lora import LoRANetwork
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.store import content_of
from tests.clients.bases import KEYS
from tests.clients.conftest import STYLES, Exhibit

SECOND = ("text_encoder_2", "tokenizer_2")
PLAIN = ("", "a red cat", "two fish in snow")


Pipeline = StableDiffusionPipeline | StableDiffusionXLPipeline
KINDS = {"sd1": StableDiffusionPipeline, "sd2": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
Encoded = tuple[Tensor, ...]
"""The states of a prompt, and for SDXL what is pooled of it."""


@dataclass(frozen=True)
class Loaded:
    """A pipeline with the export for diffusers in it, loaded as NAME.txt tells users."""

    pipe: Pipeline
    plain_before: tuple[Encoded, ...]
    """Of `PLAIN` with the LoRA, before the slots were loaded."""


@pytest.fixture(scope="session")
def loaded(exhibit: Exhibit) -> Loaded:
    pipe = pipeline(exhibit)
    pipe.load_lora_weights(exhibit.lora("diffusers"))
    before = tuple(encoded(pipe, prompt) for prompt in PLAIN)
    for style, words in STYLES.items():
        vectors = load_file(exhibit.sidecar(style))
        token = words[0] if len(words) == 1 else list(words)
        if exhibit.family == "sdxl":
            for key, encoder, tokenizer in (("clip_l", "text_encoder", "tokenizer"), ("clip_g", *SECOND)):
                own = {"text_encoder": getattr(pipe, encoder), "tokenizer": getattr(pipe, tokenizer)}
                pipe.load_textual_inversion(vectors[key], token=token, **own)
        else:
            pipe.load_textual_inversion(vectors["emb_params"], token=token)
    return Loaded(pipe, before)


def pipeline(exhibit: Exhibit) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = KINDS[exhibit.family].from_pretrained(exhibit.base_folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def encoded(pipe: Pipeline, prompt: str) -> Encoded:
    with torch.no_grad():
        found = pipe.encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    return (found[0], found[2]) if isinstance(pipe, StableDiffusionXLPipeline) else (found[0],)


def encoded_by_us(museum: Museum, prompt: str) -> Encoded:
    found = encode_prompts(museum.base, [prompt])
    return (found.states,) if found.pooled is None else (found.states, found.pooled)


def relative(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def test_the_export_has_every_key_of_the_family(exhibit: Exhibit) -> None:
    keys = load_file(exhibit.lora("diffusers"))
    assert len(keys) == KEYS.get(exhibit.family, 3 * len(exhibit.museum.network.layers))
    assert all(key.startswith("lora_") for key in keys)


def test_every_layer_changes_its_module_as_ours_does(exhibit: Exhibit, loaded: Loaded) -> None:
    found = {key: m.get_delta_weight("default_0").flatten(1) for key, m in adapted(exhibit, loaded.pipe).items()}
    ours = {key: layer.low_rank() for key, layer in exhibit.museum.network.layers.items()}
    assert found.keys() == ours.keys()
    for key, low in ours.items():
        torch.testing.assert_close(found[key], low.scale * low.up @ low.down, rtol=1e-5, atol=1e-7)


def adapted(exhibit: Exhibit, pipe: Pipeline) -> dict[str, torch.nn.Module]:
    """The modules that got a LoRA layer, by kohya's key."""
    found = {}
    is_sdxl = exhibit.family == "sdxl"
    encoders = [pipe.text_encoder, *([pipe.text_encoder_2] if is_sdxl else [])]
    for part, model in [("unet", pipe.unet), *zip(exhibit.base.family.text_parts, encoders, strict=True)]:
        for path, module in model.named_modules():
            if hasattr(module, "base_layer"):
                found[kohya_key(part, original_path(path) if is_sdxl and part == "unet" else path)] = module
    return found


@pytest.mark.parametrize("target", ["forge", "invoke", "a1111", "sdnext"])
def test_files_for_others_load_as_well_where_the_rule_says_so(exhibit: Exhibit, loaded: Loaded, target: str) -> None:
    (verdict,) = (v for v in verdicts(read_outline(exhibit.lora(target))) if v.client == "diffusers")
    if exhibit.family == "sdxl" and target in ("a1111", "sdnext"):
        assert not verdict.loads
        with pytest.raises(ValueError, match="Invalid LoRA checkpoint"):
            loaded.pipe.load_lora_weights(exhibit.lora(target))
        return
    assert verdict.loads
    config = loaded.pipe.unet.config
    own, other = (
        loaded.pipe.lora_state_dict(exhibit.lora(name), unet_config=config)[:2] for name in ("diffusers", target)
    )
    assert own[1] == other[1]
    assert own[0].keys() == other[0].keys()
    assert all(torch.equal(own[0][key], other[0][key]) for key in own[0])


@pytest.mark.parametrize("style", STYLES)
def test_a_trigger_is_encoded_as_the_slot_was_trained(loaded: Loaded, drawn_by_us: Museum, style: str) -> None:
    prompt = f"a red cat in {drawn_by_us.phrase(style)} style"
    ours = encoded_by_us(drawn_by_us, prompt)
    torch.testing.assert_close(encoded(loaded.pipe, prompt), ours, rtol=1e-5, atol=1e-5)
    with drawn_by_us.disabled():
        bare = encoded_by_us(drawn_by_us, prompt)
    assert all((one - other).abs().max() > 0.1 for one, other in zip(bare, ours, strict=True))  # it says something


def test_prompts_without_a_trigger_do_not_know_that_there_are_slots(loaded: Loaded) -> None:
    for prompt, before in zip(PLAIN, loaded.plain_before, strict=True):
        assert all(map(torch.equal, encoded(loaded.pipe, prompt), before))


def test_sdxls_second_encoder_is_pooled_where_it_was_trained_only_as_the_text_says(
    exhibit: Exhibit, loaded: Loaded, drawn_by_us: Museum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published configurations say that the end token is 2, and the library then looks for the highest id instead."""
    if exhibit.family != "sdxl":
        pytest.skip("only SDXL pools")
    (line,) = [line for line in exhibit.text("diffusers").splitlines() if "eos_token_id" in line]
    prompt = f"a red cat in {drawn_by_us.phrase('ink')} style"
    _, ours = encoded_by_us(drawn_by_us, prompt)
    monkeypatch.setattr(loaded.pipe.text_encoder_2.text_model, "eos_token_id", 2)
    assert (encoded(loaded.pipe, prompt)[1] - ours).abs().max() > 0.01
    exec(line.strip(), {"pipe": loaded.pipe})
    torch.testing.assert_close(encoded(loaded.pipe, prompt)[1], ours, rtol=1e-5, atol=1e-5)


def test_a_picture_is_the_one_of_our_own_preview(loaded: Loaded, drawn_by_us: Museum) -> None:
    """Same prompt, seed and scheduler; what differs is the order in which sums are made: less than a thousandth."""
    prompt, plan = f"a red cat in {drawn_by_us.phrase('ink')} style", SamplingPlan(64, 64, steps=4, guidance=3.0)
    ours = sample_with("euler", drawn_by_us.base, [prompt], [7], plan)
    pipe = loaded.pipe
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="linspace")
    drawn = drawn_by(pipe, prompt)
    bare = sample_with("euler", drawn_by_us.base, ["a red cat"], [7], plan)
    assert relative(drawn, ours) < 1e-3
    assert relative(bare, ours) > 0.01


def drawn_by(pipe: Pipeline, prompt: str) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipe(
            prompt,
            width=64,
            height=64,
            num_inference_steps=4,
            guidance_scale=3.0,
            generator=torch.Generator().manual_seed(7),
            output_type="latent",
        ).images


@pytest.mark.parametrize("style", STYLES)
def test_a_file_for_plain_words_is_loaded_alone(exhibit: Exhibit, drawn_by_us: Museum, style: str) -> None:
    """Its prompts are encoded as by the museum's own layers and those that know the words, without any slot."""
    prompt = f"a red cat in {drawn_by_us.phrase(style)} style"
    with words_attached(exhibit), drawn_by_us.slots.disabled():
        ours = encoded_by_us(drawn_by_us, prompt)
    with drawn_by_us.slots.disabled():
        without = encoded_by_us(drawn_by_us, prompt)
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(without, ours, strict=True))
    pipe = pipeline(exhibit)
    pipe.load_lora_weights(exhibit.lora("plain"))
    torch.testing.assert_close(encoded(pipe, prompt), ours, rtol=1e-5, atol=1e-5)


@contextmanager
def words_attached(exhibit: Exhibit) -> Iterator[None]:
    tensors = exhibit.words.tensors
    shapes = {name.removesuffix(".alpha"): LayerShape(3, 3.0) for name in tensors if name.endswith(".alpha")}
    network = LoRANetwork(exhibit.base, rank=3, alpha=3.0, seed=0, with_text_encoder=True, shapes=shapes)
    network.load_tensors(tensors)
    with network.attached():
        yield


def test_a_file_with_keys_of_no_layer_is_refused_as_the_rule_says(exhibit: Exhibit, loaded: Loaded) -> None:
    path = exhibit.lora("webui")
    (verdict,) = (v for v in verdicts(read_outline(path)) if v.client == "diffusers")
    assert not verdict.loads
    with pytest.raises(ValueError, match="Invalid LoRA checkpoint"):
        loaded.pipe.load_lora_weights(path)


def test_of_a_patched_table_alone_nothing_is_loaded_and_nothing_is_said(exhibit: Exhibit, loaded: Loaded) -> None:
    """Why the rule calls that refused: the keys of layers are not converted, so none finds its module."""
    path = exhibit.lora("comfyui")
    (verdict,) = (v for v in verdicts(read_outline(path)) if v.client == "diffusers")
    assert not verdict.loads
    assert "loads nothing" in verdict.reasons[0]
    found = loaded.pipe.lora_state_dict(path, unet_config=loaded.pipe.unet.config)[0]
    assert found
    assert not [key for key in found if key.startswith(("unet.", "text_encoder."))]


def test_layers_keep_their_strength_whatever_their_alphas(exhibit: Exhibit, tmp_path: Path) -> None:
    """As they stand, diffusers would give all of them the same."""
    content = content_of(exhibit.museum)
    alphas = {key: 0.5 + number % 3 for number, key in enumerate(content.ledger.network.targets)}
    tensors = {**content.lora, **{f"{key}.alpha": torch.tensor(alpha) for key, alpha in alphas.items()}}
    network = replace(content.ledger.network, alphas=alphas)
    content = replace(content, lora=tensors, ledger=replace(content.ledger, network=network))
    order = Order(tmp_path / "mine.safetensors", (TARGETS["diffusers"],), tmp_path, precision="float")
    publish(content, order)
    pipe = pipeline(exhibit)
    pipe.load_lora_weights(tmp_path / "mine-diffusers" / "mine.safetensors")
    layers = adapted(exhibit, pipe)
    assert layers.keys() == alphas.keys()
    for key, module in layers.items():
        down, up = (tensors[f"{key}.lora_{half}.weight"].flatten(1) for half in ("down", "up"))
        expected = alphas[key] / len(down) * up @ down
        torch.testing.assert_close(module.get_delta_weight("default_0").flatten(1), expected, rtol=1e-5, atol=1e-7)


def test_query_layers_are_dropped_where_a_file_has_no_output_layer(exhibit: Exhibit) -> None:
    """Why the rule for diffusers tells of it."""
    if exhibit.family != "sd1":
        pytest.skip("the same code for every family")
    text = {key: value for key, value in load_file(exhibit.lora("diffusers")).items() if key.startswith("lora_te_")}
    pipe = pipeline(exhibit)
    pipe.load_lora_weights({key: value for key, value in text.items() if "out_proj" not in key})
    changed = [path for path, module in pipe.text_encoder.named_modules() if hasattr(module, "base_layer")]
    assert changed
    assert not [path for path in changed if path.endswith("q_proj")]
