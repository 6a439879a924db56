"""Pictures in another size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from museum_plugin.config.schema.data import RESIZE_INTERPOLATIONS
from museum_plugin.data.resize import area_average, resize
from tests.unit.data.drawn import area_mean


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_area_counts_parts_of_pixels() -> None:
    # three pixels into two: the first is (30 + 90 / 2) / 1.5 = 50, the second (90 / 2 + 210) / 1.5 = 170
    row = Image.fromarray(np.array([[30, 90, 210]], dtype=np.uint8))
    assert np.asarray(area_average(row, (2, 1))).tolist() == [[50, 170]]
    column = row.transpose(Image.Transpose.ROTATE_270)
    assert np.asarray(area_average(column, (1, 2))).tolist() == [[50], [170]]
    # two pixels into three: the one in the middle is half of each
    assert np.asarray(area_average(row.crop((0, 0, 2, 1)), (3, 1))).tolist() == [[30, 60, 90]]
    # halves go to the even level: 0.5 to 0, 1.5 to 2
    halves = Image.fromarray(np.array([[0, 1, 1, 2]], dtype=np.uint8))
    assert np.asarray(area_average(halves, (2, 1))).tolist() == [[0, 2]]


@settings(max_examples=40, deadline=None)
@given(*(st.integers(1, 40) for _ in range(4)))
def test_area_is_the_mean_of_what_a_pixel_covers(width: int, height: int, new_width: int, new_height: int) -> None:
    image = noise(width, height, width * 40 + height)
    found = np.asarray(area_average(image, (new_width, new_height))).astype(float)
    expected = area_mean(np.asarray(image), (new_width, new_height))
    assert np.abs(found - expected).max() <= 0.5 + 1e-4  # computed in float32, rounded to a level


@pytest.mark.parametrize(
    ("size", "usual"),
    [((20, 10), "area"), ((20, 30), "area"), ((20, 31), "lanczos"), ((41, 10), "lanczos"), ((80, 60), "lanczos")],
)
def test_the_usual_way_is_area_where_both_sides_shrink_else_lanczos(size: tuple[int, int], usual: str) -> None:
    image = noise(40, 30)
    found = np.asarray(resize(image, size))
    assert (found == np.asarray(resize(image, size, usual))).all()
    other = "lanczos" if usual == "area" else "area"
    assert (found != np.asarray(resize(image, size, other))).any()


def test_every_way_is_the_filter_of_its_name() -> None:
    image = noise(40, 30)
    for name in set(RESIZE_INTERPOLATIONS) - {"area"}:
        filter_name = {"linear": "bilinear", "cubic": "bicubic"}.get(name, name).upper()
        expected = image.resize((27, 18), Image.Resampling[filter_name])
        assert resize(image, (27, 18), name).tobytes() == expected.tobytes()
    assert len({resize(image, (27, 18), name).tobytes() for name in RESIZE_INTERPOLATIONS}) == 6


@pytest.mark.parametrize("name", [None, *RESIZE_INTERPOLATIONS])
def test_a_picture_of_the_right_size_stays_as_it_is(name: str | None) -> None:
    image = noise(40, 30)
    assert resize(image, (40, 30), name) is image


@pytest.mark.parametrize("name", RESIZE_INTERPOLATIONS)
def test_one_color_stays_that_color(name: str) -> None:
    assert resize(Image.new("RGB", (50, 33), (10, 200, 77)), (17, 29), name).getcolors() == [(17 * 29, (10, 200, 77))]
