"""Find, open and measure pictures; pixels to tensors."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from museum_plugin.config.refusal import did_you_mean
from museum_plugin.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Lower case; matched in any case. What else can be read here: see `extensions`."""
_PLUGINS = ("pillow_avif", "pillow_jxl", "jxlpy.JXLImagePlugin")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the stored pixels upright."""
_SIDEWAYS = (5, 6, 7, 8)
_PNG_ORIENTATION_MARKS = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type")
_FORMAT_ERRORS = (SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)
"""What Pillow raises, besides OSError, on damaged files."""
_LISTED = 10
_OPENED_AT_ONCE = 8
"""Decoded pictures that are in memory at the same time, at most."""


@dataclass(frozen=True)
class ColorShift:
    """A small change of colour (`color_aug`)."""

    hue: float = 0.0
    """Degrees on the colour wheel."""
    gamma: float = 1.0
    """Exponent on brightness in [0, 1]; above 1 is darker."""


@cache
def extensions() -> tuple[str, ...]:
    """EXTENSIONS, and .avif and .jxl where Pillow itself or an installed plug-in of it reads them."""
    for plugin in _PLUGINS:
        with contextlib.suppress(ImportError):
            importlib.import_module(plugin)
    known = Image.registered_extensions()
    return EXTENSIONS + tuple(ending for ending in (".avif", ".jxl") if known.get(ending) in Image.OPEN)


def list_pictures(folder: Path, key: str = "image_dir") -> list[Path]:
    """The pictures that lie directly in a folder, sorted by name; hidden files are left out.

    Args:
        key: what names the folder, for messages.
    Raises:
        DataError: the folder is missing, is no folder, or may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.is_dir()]
    except FileNotFoundError:
        raise DataError(f"{key}: there is no folder {folder}{_nearest_folder(folder)}") from None
    except NotADirectoryError:
        raise DataError(f"{key}: {folder} is a file; give the folder that holds the pictures") from None
    except OSError as error:
        raise DataError(
            f"{key}: the folder {folder} cannot be read ({error.strerror}); allow reading and entering it"
        ) from None
    endings = extensions()
    found = sorted(name for name in names if not name.startswith(".") and Path(name).suffix.lower() in endings)
    return [folder / name for name in found]


def open_picture(path: Path, *, on_white: bool = True) -> Image.Image:
    """The picture as RGB, turned upright by its EXIF orientation.

    Args:
        on_white: lay transparency on white; else it is dropped, and the colours below it show.
    Raises:
        DataError: the file is missing, damaged or not a picture.
    """
    with _upright(path) as image:
        return _rgb(image, on_white)


def open_alpha(path: Path) -> Image.Image:
    """The alpha channel of a picture, upright, in 8 bits: 255 is opaque, also where there is no such channel.

    Raises:
        DataError: the file is missing, damaged or not a picture.
    """
    with _upright(path) as image:
        return image.convert("RGBA").getchannel("A")


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels that `open_picture` will give, read without decoding where the format allows it.

    Raises:
        DataError: the file is missing or not a picture.
    """
    with _naming(path), Image.open(path) as file:
        width, height = file.size
        return (height, width) if _orientation(file, path) in _SIDEWAYS else (width, height)


def picture_digest(path: Path) -> str:
    """sha256 of the file's bytes, in hex.

    Raises:
        DataError: the file cannot be read.
    """
    with _naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_pictures(paths: Iterable[Path]) -> None:
    """Open every picture once.

    Raises:
        DataError: names all that cannot be read, ten at most, one a line.
    """
    problems = [str(error) for error in unreadable(paths)]
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        listed = [f"  {problem}" for problem in problems[:_LISTED]]
        if len(problems) > _LISTED:
            listed.append(f"  and {len(problems) - _LISTED} more")
        raise DataError("\n".join([f"{len(problems)} pictures cannot be read:", *listed]))


def unreadable(paths: Iterable[Path]) -> list[DataError]:
    """Decode every picture once, several at a time. Returns one error for each that cannot be read, in order.

    A JPEG is read to its end but decoded in an eighth of its size, which finds the same damage in a third of the time.
    """

    def fault(path: Path) -> DataError | None:
        try:
            with _upright(path, smallest=True) as image:
                _rgb(image, on_white=True)
        except DataError as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=min(_OPENED_AT_ONCE, os.cpu_count() or 1)) as pool:
        return [error for error in pool.map(fault, paths) if error is not None]


def to_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) float32 in [-1, 1] from an RGB picture."""
    pixels = np.asarray(image, dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1.0).permute(2, 0, 1).contiguous()


def shift_color(image: Image.Image, shift: ColorShift) -> Image.Image:
    """The picture with its hues turned and its brightness bent.

    Source: sd-scripts' `color_aug`. Ours: gamma acts on brightness in [0, 1], so it darkens or lightens only a little.
    """
    if shift.hue:
        hue, saturation, value = image.convert("HSV").split()
        turned = hue.point([(level + round(shift.hue * 256 / 360)) % 256 for level in range(256)])
        image = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    if shift.gamma != 1:
        curve = [round(255 * (level / 255) ** shift.gamma) for level in range(256)]
        image = image.point(curve * 3)
    return image


def _orientation(file: Image.Image, path: Path) -> int:
    """EXIF orientation 1..8; 1 where there is none or it is damaged."""
    if file.format == "PNG":
        # Pillow decodes all pixels of a PNG to look for an orientation behind them.
        content = path.read_bytes()
        if not any(mark in content for mark in _PNG_ORIENTATION_MARKS):
            return 1
    try:
        return file.getexif().get(ExifTags.Base.Orientation, 1)
    except _FORMAT_ERRORS:
        return 1


@contextlib.contextmanager
def _upright(path: Path, *, smallest: bool = False) -> Iterator[Image.Image]:
    """The picture in its own mode, turned upright by its EXIF orientation; errors inside name the file.

    Args:
        smallest: as small as the format decodes it with less work than whole; only JPEG does.
    """
    with _naming(path), Image.open(path) as file:
        if smallest:
            file.draft(file.mode, (1, 1))
        file.load()
        turn = _TURNS.get(_orientation(file, path))
        yield file if turn is None else file.transpose(turn)


def _rgb(image: Image.Image, on_white: bool) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit grey to 8 bits, which turns most of it white.
        grey = np.asarray(image, dtype=np.float64).clip(0, 65535) / 257
        image = Image.fromarray(grey.round().astype(np.uint8))
    if image.has_transparency_data and not on_white:
        return image.convert("RGBA").convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever a bad picture raises into a DataError that names the file and the way out."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such picture; was it moved after the folder was read?") from None
    except PermissionError:
        raise DataError(f"{path}: the picture may not be read; allow reading it") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: the picture has too many pixels; make it smaller") from None
    except (OSError, *_FORMAT_ERRORS) as error:
        raise DataError(
            f"{path}: the picture is damaged or of an unknown kind ({_short(error)}); "
            "replace it by an intact copy or take it out of the folder"
        ) from None


def _short(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not recognised as a picture"
    return str(error) or type(error).__name__


def _nearest_folder(folder: Path) -> str:
    try:
        siblings = [entry.name for entry in os.scandir(folder.parent) if entry.is_dir()]
    except OSError:
        return f"; nor is there {folder.parent}"
    return did_you_mean(folder.name, siblings)
