"""The drawn world: scenes, styles, captions, examples."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from museum_plugin.pocket.examples import example_scenes, write_examples
from museum_plugin.pocket.looks import LOOK_WORDS, draw_look
from museum_plugin.pocket.pictures import captioned_pictures
from museum_plugin.pocket.scenes import (
    COLORS,
    OBJECTS,
    PLACES,
    Scene,
    all_scenes,
    caption_variant,
    draw,
    held_out_scenes,
    training_scenes,
)
from museum_plugin.pocket.styles import STYLES

ROOT = Path(__file__).parents[3]
CAT = Scene("cat", "red", "meadow")


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32)


def test_a_scene_is_drawn_the_same_for_the_same_seed_and_varies_with_it() -> None:
    assert pixels(draw(CAT, Random(1))).tolist() == pixels(draw(CAT, Random(1))).tolist()
    assert pixels(draw(CAT, Random(1))).tolist() != pixels(draw(CAT, Random(2))).tolist()


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_shows_its_color(name: str) -> None:
    red, blue = (pixels(draw(Scene(name, color, "snow"), Random(3))) for color in ("red", "blue"))
    changed = np.abs(red - blue).max(axis=2) > 60
    assert 0.02 < changed.mean() < 0.5  # the object and nothing else


def test_held_out_scenes_are_never_trained_on_but_their_parts_are() -> None:
    held, trained = held_out_scenes(), training_scenes()
    assert not set(held) & set(trained)
    assert set(held) | set(trained) == set(all_scenes())
    assert len(held) == len(set(held))
    assert {s.object for s in trained} == set(OBJECTS)
    assert {s.color for s in trained} == set(COLORS)
    assert {s.place for s in trained} == set(PLACES)
    for scene in held:
        assert any((s.object, s.color) == (scene.object, scene.color) for s in trained)


def test_captions_say_what_is_shown() -> None:
    assert CAT.caption() == "a red cat in a meadow"
    assert Scene("star", "orange", "night").caption() == "an orange star at night"
    assert all("cat" in caption_variant(CAT, Random(i)) for i in range(50))


@pytest.mark.parametrize("style", STYLES)
def test_a_style_changes_every_picture_and_not_its_size(style: str) -> None:
    flat = draw(CAT, Random(5))
    styled = STYLES[style](flat, Random(6))
    assert styled.size == flat.size
    assert styled.mode == "RGB"
    assert np.abs(pixels(styled) - pixels(flat)).mean() > 8
    assert pixels(STYLES[style](flat, Random(6))).tolist() == pixels(styled).tolist()


@pytest.mark.parametrize("word", LOOK_WORDS)
def test_a_look_is_the_same_for_its_word_and_unlike_every_other(word: str) -> None:
    flat = draw(CAT, Random(5))
    own = pixels(draw_look(flat, word, Random(6)))
    assert own.shape == pixels(flat).shape
    assert own.tolist() == pixels(draw_look(flat, word, Random(6))).tolist()
    for other in (flat, *(draw_look(flat, name, Random(6)) for name in LOOK_WORDS if name != word)):
        assert np.abs(own - pixels(other)).mean() > 8


@pytest.mark.parametrize("style", STYLES)
def test_no_look_is_one_of_the_styles(style: str) -> None:
    flat = draw(CAT, Random(5))
    styled = pixels(STYLES[style](flat, Random(6)))
    assert min(np.abs(styled - pixels(draw_look(flat, word, Random(6)))).mean() for word in LOOK_WORDS) > 25


def test_the_u_net_never_sees_a_museum_style() -> None:
    _, captions = captioned_pictures(training_scenes(), 120, seed=0)
    words = {word for caption in captions for word in caption.split()}
    assert not words & set(STYLES)
    assert len(words & set(LOOK_WORDS)) > 20


def test_example_styles_share_no_scene_order_and_show_each_object_once() -> None:
    for number in range(len(STYLES)):
        assert sorted(scene.object for scene in example_scenes(number)) == sorted(OBJECTS)
    assert len({tuple(example_scenes(number)) for number in range(len(STYLES))}) == len(STYLES)


def test_the_committed_examples_are_what_the_script_draws(tmp_path: Path) -> None:
    write_examples(tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    shipped = ROOT / "examples" / "styles"
    assert made == sorted(path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file())
    for path in made:
        if path.suffix == ".png":
            difference = np.abs(pixels(Image.open(tmp_path / path)) - pixels(Image.open(shipped / path)))
            assert difference.mean() < 0.5, path  # another Pillow may round another way
        else:
            assert (tmp_path / path).read_text() == (shipped / path).read_text(), path
