"""diffusers with our exports: its own loading code, on bases with all keys."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor

from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.sampler import SamplingPlan, sample_with
from museum_plugin.export.clients import verdicts
from museum_plugin.export.outline import read_outline
from museum_plugin.museum.keys import kohya_key
from museum_plugin.museum.museum import Museum
from tests.clients.bases import KEYS
from tests.clients.conftest import STYLES, Exhibit

PLAIN = ("", "a red cat", "two fish in snow")


@dataclass(frozen=True)
class Loaded:
    """A pipeline with the export for diffusers in it, loaded as NAME.txt tells users."""

    pipe: StableDiffusionPipeline
    plain_before: tuple[Tensor, ...]
    """States of `PLAIN` with the LoRA, before the slots were loaded."""

    def encoded(self, prompt: str) -> Tensor:
        return encoded(self.pipe, prompt)


@pytest.fixture(scope="session")
def loaded(exhibit: Exhibit) -> Loaded:
    pipe = pipeline(exhibit)
    pipe.load_lora_weights(exhibit.lora("diffusers"))
    before = tuple(encoded(pipe, prompt) for prompt in PLAIN)
    for style, words in STYLES.items():
        vectors = load_file(exhibit.sidecar(style))
        pipe.load_textual_inversion(vectors["emb_params"], token=words[0] if len(words) == 1 else list(words))
    return Loaded(pipe, before)


def pipeline(exhibit: Exhibit) -> StableDiffusionPipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = StableDiffusionPipeline.from_pretrained(exhibit.base_folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def encoded(pipe: StableDiffusionPipeline, prompt: str) -> Tensor:
    states, _ = pipe.encode_prompt(prompt, "cpu", 1, False)
    return states.detach()


def relative(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def test_the_export_has_every_key_of_the_family(exhibit: Exhibit) -> None:
    keys = load_file(exhibit.lora("diffusers"))
    assert len(keys) == KEYS[exhibit.family]
    assert all(key.startswith("lora_") for key in keys)


def test_every_layer_changes_its_module_as_ours_does(exhibit: Exhibit, loaded: Loaded) -> None:
    found = {}
    for part, model in (("unet", loaded.pipe.unet), ("te", loaded.pipe.text_encoder)):
        for path, module in model.named_modules():
            if hasattr(module, "base_layer"):
                found[kohya_key(part, path)] = module.get_delta_weight("default_0").flatten(1)
    ours = {key: layer.low_rank() for key, layer in exhibit.museum.network.layers.items()}
    assert found.keys() == ours.keys()
    for key, low in ours.items():
        torch.testing.assert_close(found[key], low.scale * low.up @ low.down, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("target", ["forge", "invoke", "a1111", "sdnext"])
def test_files_for_others_load_as_well_where_the_rule_says_so(exhibit: Exhibit, loaded: Loaded, target: str) -> None:
    (verdict,) = (v for v in verdicts(read_outline(exhibit.lora(target))) if v.client == "diffusers")
    assert verdict.loads
    config = loaded.pipe.unet.config
    own, other = (
        StableDiffusionPipeline.lora_state_dict(exhibit.lora(name), unet_config=config)
        for name in ("diffusers", target)
    )
    assert own[1] == other[1]
    assert own[0].keys() == other[0].keys()
    assert all(torch.equal(own[0][key], other[0][key]) for key in own[0])


@pytest.mark.parametrize("style", STYLES)
def test_a_trigger_is_encoded_as_the_slot_was_trained(loaded: Loaded, drawn_by_us: Museum, style: str) -> None:
    prompt = f"a red cat in {drawn_by_us.phrase(style)} style"
    ours = encode_prompts(drawn_by_us.base, [prompt]).states
    torch.testing.assert_close(loaded.encoded(prompt), ours, rtol=1e-5, atol=1e-5)
    with drawn_by_us.disabled():
        assert (encode_prompts(drawn_by_us.base, [prompt]).states - ours).abs().max() > 0.1  # the slot says something


def test_prompts_without_a_trigger_do_not_know_that_there_are_slots(loaded: Loaded) -> None:
    for prompt, before in zip(PLAIN, loaded.plain_before, strict=True):
        assert torch.equal(loaded.encoded(prompt), before)


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


def drawn_by(pipe: StableDiffusionPipeline, prompt: str) -> Tensor:
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
    found, _ = StableDiffusionPipeline.lora_state_dict(path, unet_config=loaded.pipe.unet.config)
    assert found
    assert not [key for key in found if key.startswith(("unet.", "text_encoder."))]


def test_query_layers_are_dropped_where_a_file_has_no_output_layer(exhibit: Exhibit) -> None:
    """Why the rule for diffusers tells of it."""
    text = {key: value for key, value in load_file(exhibit.lora("diffusers")).items() if key.startswith("lora_te_")}
    pipe = pipeline(exhibit)
    pipe.load_lora_weights({key: value for key, value in text.items() if "out_proj" not in key})
    changed = [path for path, module in pipe.text_encoder.named_modules() if hasattr(module, "base_layer")]
    assert changed
    assert not [path for path in changed if path.endswith("q_proj")]
