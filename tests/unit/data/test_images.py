from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin

from museum_plugin.data.images import (
    ColorShift,
    check_pictures,
    list_pictures,
    open_picture,
    picture_digest,
    picture_size,
    shift_color,
    to_tensor,
    unreadable,
)
from museum_plugin.errors import DataError
from tests.unit.data.drawn import draw

# A picture of 2x3 pixels whose corners tell how it was turned.
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[9, 9, 9], [9, 9, 9]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions count, also where the tests are run by root."""
    if not hasattr(os, "geteuid"):
        pytest.skip("needs POSIX permissions")
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_pictures_of_all_kinds_are_found_sorted_and_nothing_else(tmp_path: Path) -> None:
    wanted = ["B.PNG", "a.jpg", "b.Jpeg", "c.webp", "d.bmp"]
    for name in [*wanted, "a.txt", "e.gif", ".hidden.png", "._a.jpg", "png"]:
        (tmp_path / name).touch()
    draw(tmp_path / "below" / "f.png")
    (tmp_path / "folder.png").mkdir()
    assert list_pictures(tmp_path) == [tmp_path / name for name in wanted]


def test_a_link_to_nothing_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    (path,) = list_pictures(tmp_path)
    with pytest.raises(DataError, match=r"a\.png: there is no such picture"):
        open_picture(path)


def test_a_misspelt_folder_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "ukiyoe").mkdir()
    with pytest.raises(DataError, match=r'no folder .*ukioye; did you mean "ukiyoe"'):
        list_pictures(tmp_path / "ukioye")
    with pytest.raises(DataError, match="nor is there"):
        list_pictures(tmp_path / "nowhere" / "deep")


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png is a file"):
        list_pictures(draw(tmp_path / "a.png"))


def test_a_folder_without_permission_is_named(public_folder: Path) -> None:
    closed = public_folder / "closed"
    closed.mkdir(mode=0o000)
    with without_privileges(), pytest.raises(DataError, match=r"closed cannot be read \(Permission denied\)"):
        list_pictures(closed)


@pytest.mark.parametrize("read", [open_picture, picture_size, picture_digest])
def test_a_picture_without_permission_is_named(public_folder: Path, read) -> None:
    path = draw(public_folder / "a.png")
    path.chmod(0o000)
    with without_privileges(), pytest.raises(DataError, match=r"a\.png: the picture may not be read"):
        read(path)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_honoured_in_size_and_pixels(tmp_path: Path, extension: str, orientation: int) -> None:
    # What the stored picture shows when a viewer turns it, by the EXIF standard: rows and columns of CORNERS.
    turned = {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.transpose(1, 0, 2),
        6: CORNERS[::-1].transpose(1, 0, 2),
        7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
        8: CORNERS[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{extension}"
    enlarged = Image.fromarray(CORNERS).resize((32, 48), Image.Resampling.NEAREST)
    enlarged.save(path, exif=exif, **({"quality": 100} if extension == "jpg" else {"lossless": True}))
    image = open_picture(path)
    assert image.size == picture_size(path) == (turned.shape[1] * 16, turned.shape[0] * 16)
    seen = np.asarray(image)[8::16, 8::16].astype(int)
    assert np.abs(seen - turned).max() < 60  # JPEG blurs colours a little


def test_an_orientation_behind_the_pixels_of_a_png_is_found(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 4)).save(path, exif=exif)
    raw = path.read_bytes()
    start = raw.index(b"eXIf") - 4
    length = int.from_bytes(raw[start : start + 4], "big") + 12
    chunk, rest = raw[start : start + length], raw[:start] + raw[start + length :]
    end = rest.index(b"IEND") - 4
    path.write_bytes(rest[:end] + chunk + rest[end:])
    assert picture_size(path) == open_picture(path).size == (4, 8)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_damaged_orientation_does_not_spoil_a_picture(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.new("RGB", (8, 4)).save(path, exif=b"Exif\0\0XX*\0garbage")
    assert picture_size(path) == open_picture(path).size == (8, 4)


def transparent(mode: str) -> Image.Image:
    """Left pixel fully transparent, right pixel opaque black."""
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    if mode == "RGB":
        image = Image.new("RGB", (2, 1), (0, 0, 0))
        image.putpixel((0, 0), (7, 7, 7))
        image.info["transparency"] = (7, 7, 7)
        return image
    return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_becomes_white(tmp_path: Path, mode: str) -> None:
    transparent(mode).save(tmp_path / "a.png")
    image = open_picture(tmp_path / "a.png")
    assert (image.mode, image.getpixel((0, 0)), image.getpixel((1, 0))) == ("RGB", (255, 255, 255), (0, 0, 0))


def test_half_transparent_red_on_white_is_pink(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png").getpixel((0, 0)) == (255, 127, 127)


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 0x8080, dtype=np.uint16)).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png").getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), "white").convert(mode).save(tmp_path / "a.jpg")
    assert open_picture(tmp_path / "a.jpg").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp"])
def test_a_truncated_picture_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    path = draw(tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"{name}: the picture is damaged.*replace it by an intact copy or take it"):
        open_picture(path)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
@pytest.mark.parametrize("read", [open_picture, picture_size])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, read) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: the picture is damaged or of an unknown kind"):
        read(tmp_path / "a.png")


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"a\.png: the picture has too many pixels"):
        open_picture(path)


def test_all_unreadable_pictures_are_listed_ten_at_most(tmp_path: Path) -> None:
    good = draw(tmp_path / "good.png")
    bad = [tmp_path / f"bad{number:02d}.png" for number in range(12)]
    for path in bad:
        path.write_bytes(b"")
    check_pictures([good])
    with pytest.raises(DataError) as caught:
        check_pictures([good, *bad])
    message = str(caught.value)
    assert message.startswith("12 pictures cannot be read:")
    assert [path.name in message for path in [good, *bad]] == [False, *[True] * 10, False, False]
    assert message.endswith("and 2 more")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}])
def test_a_damaged_jpeg_is_found_wherever_it_is_cut(tmp_path: Path, options: dict) -> None:
    noise = Image.effect_noise((96, 80), 80).convert("RGB")
    noise.save(tmp_path / "whole.jpg", **options)
    whole = (tmp_path / "whole.jpg").read_bytes()
    cut = [tmp_path / f"{length}.jpg" for length in range(0, len(whole) - 2, len(whole) // 20)]
    for path in cut:
        path.write_bytes(whole[: int(path.stem)])
    assert len(unreadable([*cut, tmp_path / "whole.jpg"])) == len(cut)


def test_a_jpeg_is_not_decoded_whole_to_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw(tmp_path / "a.jpg")
    width, height = open_picture(path).size
    sizes = set()
    load = JpegImagePlugin.JpegImageFile.load
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", lambda file: sizes.add(file.size) or load(file))
    assert unreadable([path]) == []
    assert sizes == {(width // 8, height // 8)}


def test_pixels_reach_from_minus_one_to_one_in_channel_row_column_order() -> None:
    image = Image.fromarray(np.array([[[0, 51, 255], [255, 0, 102]]], dtype=np.uint8))
    expected = torch.tensor([[[-1.0, 1.0]], [[-0.6, -1.0]], [[1.0, -0.2]]])
    tensor = to_tensor(image)
    assert (tensor.dtype, tensor.shape) == (torch.float32, (3, 1, 2))
    torch.testing.assert_close(tensor, expected)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png")
    assert picture_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=r"b\.png: there is no such picture"):
        picture_digest(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (ColorShift(), (200, 100, 100)),
        (ColorShift(hue=120), (100, 200, 100)),
        (ColorShift(hue=-120), (100, 100, 200)),
        (ColorShift(gamma=2), (157, 39, 39)),  # 255 * (200 / 255)^2 and 255 * (100 / 255)^2
    ],
)
def test_colours_shift_by_hue_and_gamma(shift: ColorShift, expected: tuple[int, int, int]) -> None:
    seen = shift_color(Image.new("RGB", (1, 1), (200, 100, 100)), shift).getpixel((0, 0))
    assert np.abs(np.subtract(seen, expected)).max() <= 3
