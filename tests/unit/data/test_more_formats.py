"""Formats that only some installations read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, features

from museum_plugin.data.images import EXTENSIONS, extensions, list_pictures, open_picture


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    extensions.cache_clear()
    yield
    extensions.cache_clear()


def test_avif_is_found_and_read_where_pillow_can(tmp_path: Path) -> None:
    assert (".avif" in extensions()) == features.check("avif")
    if features.check("avif"):
        Image.new("RGB", (24, 16), (200, 40, 90)).save(tmp_path / "a.AVIF", format="AVIF")
        (path,) = list_pictures(tmp_path)
        image = open_picture(path)
        assert (image.mode, image.size) == ("RGB", (24, 16))
        assert np.abs(np.asarray(image, dtype=int) - (200, 40, 90)).max() < 12


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's tables, put back afterwards."""
    Image.init()
    for table in ("EXTENSION", "OPEN"):
        monkeypatch.setattr(Image, table, dict(getattr(Image, table)))


@pytest.mark.parametrize("name", ["pillow_jxl", "jxlpy.JXLImagePlugin"])
def test_jxl_is_found_where_a_plugin_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: None, name: str
) -> None:
    folder = tmp_path / "site"
    package, _, module = name.partition(".")
    (folder / package).mkdir(parents=True)
    registration = (
        "from PIL import Image, ImageFile\n"
        "Image.register_open('JXL', ImageFile.ImageFile, lambda prefix: False)\n"
        "Image.register_extensions('JXL', ['.jxl'])\n"
    )
    (folder / package / "__init__.py").write_text("" if module else registration)
    (folder / package / f"{module or 'other'}.py").write_text(registration if module else "")
    (tmp_path / "a.jxl").touch()
    assert list_pictures(tmp_path) == []

    extensions.cache_clear()
    monkeypatch.syspath_prepend(folder)
    assert list_pictures(tmp_path) == [tmp_path / "a.jxl"]
    for loaded in (name, package):
        sys.modules.pop(loaded, None)


def test_an_extension_that_can_only_be_written_is_no_picture(monkeypatch: pytest.MonkeyPatch, registry: None) -> None:
    for name in ("pillow_jxl", "jxlpy", "jxlpy.JXLImagePlugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    Image.EXTENSION[".jxl"] = "JXL"
    Image.OPEN.pop("JXL", None)
    assert ".jxl" not in extensions()
    assert extensions()[: len(EXTENSIONS)] == EXTENSIONS
