"""The page in a real browser, where one is installed: nothing is complained about, nothing sticks out, it is seen."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from museum_plugin.judge.page import page
from tests.unit.judge.pages import content_of

playwright = pytest.importorskip("playwright.sync_api")
MANY = tuple(f"a style with a long name {i}" for i in range(8))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        own = shutil.which("chromium") or shutil.which("google-chrome") or driver.chromium.executable_path
        if not Path(own).exists():
            pytest.skip("no Chromium is installed")
        started = driver.chromium.launch(executable_path=own, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "mine.html"
    path.write_text(page(content_of(MANY)), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_readable_at_any_width(browser: Any, file: Path, width: int, scheme: str) -> None:
    shown = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("requestfailed", lambda request: complaints.append(request.url[:80]))
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(file.as_uri())
    assert not complaints
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    small = "[...document.querySelectorAll('p, li, dd, th, td')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(shown.evaluate(small)) >= 12
    with Image.open(io.BytesIO(shown.screenshot(full_page=True))) as picture:
        assert picture.width == width
        light = picture.convert("L").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 50
    assert isinstance(light, int)
    assert light > 128 if scheme == "light" else light < 128
    shown.close()
