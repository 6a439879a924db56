from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from museum_plugin.config.schema import DatasetConfig, SubsetConfig
from museum_plugin.data.buckets import Placement, bucket_resolutions, choose_bucket, resize_and_crop
from museum_plugin.errors import ConfigError, DataError


def dataset(resolution: tuple[int, int] = (512, 512), **settings) -> DatasetConfig:
    return DatasetConfig((SubsetConfig(Path("pictures")),), resolution, **{"enable_bucket": True, **settings})


def test_the_buckets_of_512_pixels_are_those_of_sd_scripts() -> None:
    # Height 512 * 512 // width, rounded down to the step: 256: 1024, 320: 768, 384: 640, 448: 576, 512: 512,
    # 576: 448, 640: 384, 704: 320, 768: 320, 832: 256, 896: 256, 960: 256, 1024: 256; and each of them turned.
    narrow = [(256, 832), (256, 896), (256, 960), (256, 1024), (320, 704), (320, 768), (384, 640), (448, 576)]
    wide = [(height, width) for width, height in narrow]
    assert bucket_resolutions(dataset()) == sorted([*narrow, (512, 512), *wide])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"enable_bucket": False, "resolution": (100, 72)}, [(100, 72)]),
        ({"min_bucket_reso": 448, "max_bucket_reso": 512}, [(448, 512), (512, 448), (512, 512)]),
        ({"min_bucket_reso": 500, "max_bucket_reso": 513}, [(448, 576), (512, 512), (576, 448)]),
        (
            {"resolution": (64, 64), "min_bucket_reso": 32, "max_bucket_reso": 64, "bucket_reso_steps": 16},
            [(32, 64), (48, 64), (64, 32), (64, 48), (64, 64)],
        ),
        (
            {"resolution": (96, 64), "min_bucket_reso": 64, "max_bucket_reso": 96, "bucket_reso_steps": 32},
            [(64, 64), (64, 96), (96, 64)],
        ),
        ({"bucket_no_upscale": True}, []),
    ],
)
def test_resolution_limits_and_step_shape_the_set(settings: dict, expected: list[tuple[int, int]]) -> None:
    assert bucket_resolutions(dataset(**settings)) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolution": (128, 512)}, "min_bucket_reso: found 256.*side of 128"),
        ({"resolution": (512, 1280)}, "max_bucket_reso: found 1024.*side of 1280; allowed: 1280 or more"),
        ({"resolution": (32, 512), "min_bucket_reso": 8}, "bucket_reso_steps of at most 32"),
        ({"resolution": (128, 512), "bucket_no_upscale": True}, "min_bucket_reso"),
    ],
)
def test_limits_that_exclude_the_resolution_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bucket_resolutions(dataset(**settings))
    with pytest.raises(ConfigError, match=message):
        choose_bucket((64, 64), dataset(**settings))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # exactly a bucket
        ((320, 704), Placement((320, 704), (320, 704), 0, 0)),
        # ratio 1.5: of 640/384 = 1.67 and 576/448 = 1.29 the first is nearer; it is wider: match its width
        ((300, 200), Placement((640, 384), (640, 427), 0, 21)),
        # the same from a large picture
        ((3000, 2000), Placement((640, 384), (640, 427), 0, 21)),
        # ratio 0.8: 448/576 = 0.78; the picture is wider: match the height, 576 * 0.8 = 460.8
        ((800, 1000), Placement((448, 576), (461, 576), 6, 0)),
        # ratio 100: the widest there is
        ((1000, 10), Placement((1024, 256), (25600, 256), 12288, 0)),
    ],
)
def test_a_picture_goes_to_the_nearest_ratio_and_covers_it(size: tuple[int, int], expected: Placement) -> None:
    assert choose_bucket(size, dataset()) == expected


def test_of_two_equally_near_buckets_the_first_in_order_is_taken() -> None:
    # Ratios 2 and 1 are equally far from 1.5.
    two = dataset((64, 64), min_bucket_reso=32, max_bucket_reso=64, bucket_reso_steps=32)
    assert bucket_resolutions(two) == [(32, 64), (64, 32), (64, 64)]
    assert choose_bucket((300, 200), two).bucket == (64, 32)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # small enough: kept, cropped to whole steps
        ((300, 200), Placement((256, 192), (300, 200), 22, 4)),
        ((512, 512), Placement((512, 512), (512, 512), 0, 0)),
        # 1000x800, ratio 1.25: sqrt(512^2 * 1.25) = 572.4 x 457.9 -> width 512 with height 410 -> 384 (1.333, off by
        # 0.083), or height 448 with width 560 -> 512 (1.143, off by 0.107): the width is rounded
        ((1000, 800), Placement((512, 384), (512, 410), 0, 13)),
        # 1600x900, ratio 1.778: 682.7 x 384.0 -> width 640 with height 360 -> 320 (2.0, off by 0.22), or height 384
        # with width 682.7 -> 683 -> 640 (1.667, off by 0.11): the height is rounded
        ((1600, 900), Placement((640, 384), (683, 384), 21, 0)),
    ],
)
def test_without_upscaling_pictures_only_shrink(size: tuple[int, int], expected: Placement) -> None:
    assert choose_bucket(size, dataset(bucket_no_upscale=True)) == expected


@pytest.mark.parametrize("size", [(63, 500), (500, 63), (20000, 70)])
def test_without_upscaling_a_sliver_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(
        DataError, match=rf"{size[0]}x{size[1]} does not fill one step.*= 64.*turn bucket_no_upscale off"
    ):
        choose_bucket(size, dataset(bucket_no_upscale=True))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((200, 100), Placement((512, 512), (1024, 512), 256, 0)),
        ((1000, 2001), Placement((512, 512), (512, 1025), 0, 256)),
        ((512, 512), Placement((512, 512), (512, 512), 0, 0)),
    ],
)
def test_without_buckets_every_picture_covers_the_resolution(size: tuple[int, int], expected: Placement) -> None:
    assert choose_bucket(size, dataset(enable_bucket=False)) == expected


sides = st.integers(1, 4000)
limits = st.integers(256, 1024)


@given(sides, sides, st.booleans(), st.booleans(), st.sampled_from([8, 32, 64]), limits, limits)
def test_the_crop_lies_inside_a_picture_that_covers_its_bucket(
    width: int, height: int, enable: bool, no_upscale: bool, step: int, across: int, down: int
) -> None:
    settings = dataset((across, down), enable_bucket=enable, bucket_no_upscale=no_upscale, bucket_reso_steps=step)
    try:
        placement = choose_bucket((width, height), settings)
    except DataError:
        assume(False)
        raise
    for side, start in enumerate((placement.left, placement.top)):
        spare = placement.resized[side] - placement.bucket[side]
        assert 0 <= start <= spare
        assert start == spare // 2  # centred
        assert not enable or placement.bucket[side] % step == 0
    if enable and no_upscale:
        assert placement.resized[0] <= width
        assert placement.resized[1] <= height
    else:
        assert placement.bucket[0] * placement.bucket[1] <= across * down
        # one side fits exactly, the other keeps the shape of the picture to within rounding
        exact = 0 if placement.resized[0] == placement.bucket[0] else 1
        assert placement.resized[exact] == placement.bucket[exact]
        scale = placement.bucket[exact] / (width, height)[exact]
        assert abs(placement.resized[1 - exact] - (width, height)[1 - exact] * scale) <= 0.5 + 1e-6


def gradient(width: int, height: int) -> Image.Image:
    """Red is the column, green is the row."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8))


def test_the_crop_is_taken_from_its_place_and_mirrored_after() -> None:
    placement = Placement((4, 3), (10, 8), 5, 2)
    cut = np.asarray(resize_and_crop(gradient(10, 8), placement, flip=False))
    assert cut[0, :, 0].tolist() == [5, 6, 7, 8]
    assert cut[:, 0, 1].tolist() == [2, 3, 4]
    mirrored = np.asarray(resize_and_crop(gradient(10, 8), placement, flip=True))
    assert (mirrored == cut[:, ::-1]).all()


def test_shrinking_averages_areas() -> None:
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[:2, :2] = [[[0], [40]], [[80], [120]]]
    image = resize_and_crop(Image.fromarray(pixels), Placement((2, 2), (2, 2), 0, 0), flip=False)
    assert image.getpixel((0, 0)) == (60, 60, 60)
    assert image.getpixel((1, 1)) == (0, 0, 0)


def test_growing_on_a_side_is_lanczos() -> None:
    source = gradient(8, 8).point(lambda level: level * 30)
    image = resize_and_crop(source, Placement((16, 8), (16, 8), 0, 0), flip=False)
    assert (np.asarray(image) == np.asarray(source.resize((16, 8), Image.Resampling.LANCZOS))).all()
    assert (np.asarray(image) != np.asarray(source.resize((16, 8), Image.Resampling.BOX))).any()
