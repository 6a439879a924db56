"""`sample`: which pictures are drawn, by whom, from which seed, into which files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from museum_plugin.__main__ import main
from museum_plugin.base.encode import decode_latents
from museum_plugin.base.load import load_base
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.cli import museum_base
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.cli.sample import slugs
from museum_plugin.errors import BaseModelError
from museum_plugin.judge import grid
from museum_plugin.judge.retention import Exhibition, draw
from museum_plugin.museum.file import read_museum, write_museum
from museum_plugin.museum.slots import Slot
from museum_plugin.museum.store import content_of, new_museum, open_museum
from museum_plugin.museum.triggers import single_token
from tests.sdxl_models import write_tiny_sdxl
from tests.tiny_models import write_tiny_base
from tests.tiny_museums import shake
from tests.unit.cli.museums import SLOT_WORDS, museum_command, with_exhibition, with_style


def sample(museum: Path, *words: str) -> list[Path]:
    """The pictures of one call, in order."""
    out = museum.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    assert main(["sample", str(museum), "--out", str(out), *words]) == 0
    return sorted(out.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.tobytes()


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def by_hand(museum: Path, base: Path, prompt: str, seed: int, style: str | None, plan: SamplingPlan) -> bytes:
    opened = open_museum(museum, load_base(base))
    with opened.attached():
        latents = draw(opened, Exhibition((prompt,), (seed,), plan), style)
    return grid.to_pictures(decode_latents(opened.base, latents))[0].tobytes()


@pytest.mark.parametrize("style", ["ink", "dots", None])
def test_a_picture_is_what_the_museum_draws(museum: Path, tiny_base: Path, style: str | None) -> None:
    words = ["--style", style] if style else []
    (path,) = sample(museum, *words, "--prompt", "a red cat!", "--seed", "3")
    assert path.name == f"mine_{style or 'no-trigger'}_a-red-cat_3.png"
    plan = SamplingPlan(64, 64, steps=2, guidance=3.0)
    assert pixels(path) == by_hand(museum, tiny_base, "a red cat!", 3, style, plan)


def test_a_museum_is_drawn_on_the_noise_schedule_it_was_judged_on(museum: Path) -> None:
    (path,) = sample(museum, "--style", "ink", "--prompt", "a cat")
    usual = pixels(path)
    content = read_museum(museum)
    newest = content.ledger.styles[-1]
    for recorded, differs in ((False, False), (True, True)):
        settings = {**newest.settings, "zero_terminal_snr": recorded}
        styles = (*content.ledger.styles[:-1], replace(newest, settings=settings))
        write_museum(museum, replace(content, ledger=replace(content.ledger, styles=styles)), keep_history=0)
        (path,) = sample(museum, "--style", "ink", "--prompt", "a cat")
        assert (pixels(path) != usual) is differs


def test_styles_prompts_and_seeds_give_one_picture_each(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["--style", "dots", "--style", "ink", "--style", "dots"]
    paths = sample(museum, *both, "--prompt", "a cat", "--prompt", "a dog", "--number", "2", "--steps", "1")
    expected = [f"mine_{s}_a-{p}_{n}.png" for s in ("dots", "ink") for p in ("cat", "dog") for n in (0, 1)]
    assert [path.name for path in paths] == expected
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    assert len({pixels(path) for path in paths}) == 8


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        (["--steps", "3"], {"steps": 3}),
        (["--guidance", "1"], {"guidance": 1.0}),
        (["--width", "72"], {"width": 72}),
        (["--height", "32"], {"height": 32}),
    ],
)
def test_how_it_is_drawn_can_be_chosen(museum: Path, tiny_base: Path, words: list[str], plan: dict[str, float]) -> None:
    (path,) = sample(museum, "--prompt", "a cat", *words)
    asked = replace(SamplingPlan(64, 64, steps=2, guidance=3.0), **plan)
    assert size(path) == (asked.width, asked.height)
    assert pixels(path) == by_hand(museum, tiny_base, "a cat", 0, None, asked)


def test_without_prompt_it_draws_what_the_museum_is_judged_on(museum: Path) -> None:
    assert [path.name for path in sample(museum)] == [
        "mine_no-trigger_a-red-cat_0.png",
        "mine_no-trigger_two-fish_0.png",
    ]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, list[Image.Image]], list[str]]]:
    """Columns and row titles of each grid that is drawn."""
    seen: list[tuple[dict[str, list[Image.Image]], list[str]]] = []
    real = grid.draw_grid
    monkeypatch.setattr(grid, "draw_grid", lambda pictures, rows: seen.append((pictures, rows)) or real(pictures, rows))
    return seen


def test_a_grid_has_base_no_trigger_and_each_style(museum: Path, sheets: list) -> None:
    words = ["--prompt", "a cat", "--prompt", "a dog", "--number", "2", "--seed", "5", "--steps", "1"]
    (path,) = sample(museum, *words, "--grid")
    assert path.name == "mine_grid_a-cat_5.png"
    ((pictures, rows),) = sheets
    assert list(pictures) == ["base", "no trigger", "ink (zorvex)", "dots (quimbly)"]
    assert rows == [f"a {animal} (seed {seed})" for animal in ("cat", "dog") for seed in (5, 6)]
    drawings = [picture.tobytes() for column in pictures.values() for picture in column]
    assert len(set(drawings)) == len(drawings) == 16
    assert size(path)[0] > 160 * len(pictures)


def test_a_grid_of_chosen_styles_shows_the_bare_base_beside(museum: Path, tiny_base: Path, sheets: list) -> None:
    sample(museum, "--prompt", "a cat", "--style", "dots", "--grid")
    ((pictures, rows),) = sheets
    assert list(pictures) == ["base", "no trigger", "dots (quimbly)"]
    assert rows == ["a cat"]
    opened = open_museum(museum, load_base(tiny_base))
    bare = draw(opened, Exhibition(("a cat",), (0,), SamplingPlan(64, 64, steps=2, guidance=3.0)), None)
    assert pictures["base"][0].tobytes() == grid.to_pictures(decode_latents(opened.base, bare))[0].tobytes()


def test_the_real_command_draws_with_the_chosen_base(museum: Path, tiny_base: Path, tmp_path: Path) -> None:
    words = ["--prompt", "a cat", "--style", "ink", "--pretrained_model_name_or_path", tiny_base]
    done = museum_command("sample", museum, *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    path = Path("samples") / "mine_ink_a-cat_0.png"
    assert done.stdout == f"{path}\n"
    assert size(tmp_path / path) == (64, 64)
    assert not [noise for noise in ("Loading", "float32", "Traceback", "drawing") if noise in done.stderr]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--style", "inc"], 5, "no style 'inc' in this museum"),
        (["--width", "60"], 2, "--width: found 60, allowed: a multiple of 8 pixels"),
        (["--height", "12"], 2, "--height: found 12, allowed: a multiple of 8 pixels"),
        (["--pretrained_model_name_or_path", "nowhere"], 4, "nowhere: no base model there"),
        (["--seed", str(2**63 - 1), "--number", "2"], 2, "--seed: found 9223372036854775807 for 2 pictures"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    museum: Path, words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(museum), "--out", str(museum.parent / "out"), *words]) == code
    assert told in capsys.readouterr().err
    assert not (museum.parent / "out").exists()


def test_a_folder_that_cannot_be_written_is_told(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(museum), "--steps", "1", "--out", str(museum)]) == 7
    assert "cannot be written" in capsys.readouterr().err


def test_another_base_is_refused(museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_tiny_base(tmp_path / "other", seed=9)
    assert main(["sample", str(museum), "--pretrained_model_name_or_path", str(other)]) == 5
    assert "this museum was taught on base model 'tiny' (sd1), not on 'other'" in capsys.readouterr().err


def moved(museum: Path, place: str) -> None:
    """The museum as if its newest style had been taught on a base at another place."""
    content = read_museum(museum)
    ink, dots = content.ledger.styles
    dots = replace(dots, settings={"pretrained_model_name_or_path": place})
    write_museum(museum, replace(content, ledger=replace(content.ledger, styles=(ink, dots))), keep_history=5)


def test_a_base_beside_the_museum_is_found(museum: Path, tiny_base: Path) -> None:
    moved(museum, "bases/tiny")
    shutil.copytree(tiny_base, museum.parent / "bases" / "tiny")
    assert museum_base.load_base_of(museum, ledger_of(museum), None).name == "tiny"


def test_the_embedded_base_is_taken_where_it_is_the_right_one(
    museum: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(museum, "gone")
    ledger = ledger_of(museum)
    monkeypatch.setattr(museum_base, "POCKET_MODEL", tiny_base)
    assert museum_base.load_base_of(museum, ledger, None).fingerprint == ledger.base.fingerprint

    told = (
        "its base model 'tiny' \\(sd1\\) is not at gone any more; give its folder with --pretrained_model_name_or_path"
    )
    monkeypatch.setattr(museum_base, "POCKET_MODEL", write_tiny_base(tmp_path / "pocket", seed=5))
    with pytest.raises(BaseModelError, match=told):
        museum_base.load_base_of(museum, ledger, None)
    monkeypatch.setattr(museum_base, "POCKET_MODEL", tmp_path / "none")
    with pytest.raises(BaseModelError, match=told):
        museum_base.load_base_of(museum, ledger, None)
    with pytest.raises(BaseModelError, match="is at an unknown place"):
        museum_base.load_base_of(museum, replace(ledger, styles=()), None)


@pytest.mark.parametrize("exhibition", [None, {"prompts": "text", "width": "wide", "steps": -3, "guidance": None}])
def test_a_museum_that_was_never_judged_draws_in_the_size_of_its_base(museum: Path, exhibition: object) -> None:
    content = read_museum(museum)
    ledger = replace(content.ledger, extra={"exhibition": exhibition})
    write_museum(museum, replace(content, ledger=ledger), keep_history=5)
    (path,) = sample(museum, "--prompt", "a cat", "--steps", "1")
    assert size(path) == (64, 64)
    assert main(["sample", str(museum)]) == 2


def test_prompts_are_read_as_the_museum_was_taught(museum: Path, tiny_base: Path) -> None:
    content = read_museum(museum)
    recorded = {**content.ledger.extra["exhibition"], "max_token_length": 150, "weighted_captions": True}
    ledger = replace(content.ledger, extra={"exhibition": recorded})
    write_museum(museum, replace(content, ledger=ledger), keep_history=5)

    (path,) = sample(museum, "--prompt", "a (red:1.5) cat")

    plan = SamplingPlan(64, 64, steps=2, guidance=3.0, text=TextEncoding(1, 150, weighted=True))
    assert pixels(path) == by_hand(museum, tiny_base, "a (red:1.5) cat", 0, None, plan)


def test_file_names_are_short_and_different() -> None:
    long = "word " * 30
    texts = ["A red, red CAT!", "a red red cat", "", "???", long, long + "end", "Größe 水彩", "../../etc"]
    names = slugs(texts)
    assert list(names) == texts
    assert list(names.values())[:4] == ["a-red-red-cat", "a-red-red-cat-2", "empty", "empty-2"]
    assert len(set(names.values())) == len(texts)
    assert all(len(name) <= 42 and not set(name) & set("/\\.: ") for name in names.values())
    assert names["Größe 水彩"] == "größe-水彩"


def test_sdxl_draws_as_its_museum_does(tmp_path: Path) -> None:
    folder, path = write_tiny_sdxl(tmp_path / "sdxl"), tmp_path / "mine.safetensors"
    base = load_base(folder)
    museum = new_museum(base, rank=2, alpha=1.0, seed=1, with_text_encoder=True)
    rng, (word, *_) = torch.Generator().manual_seed(0), SLOT_WORDS.values()
    shake(museum.network, rng)
    vectors = tuple(torch.randn(1, width, generator=rng) for width in (8, 12))
    token = single_token(base, word)
    museum.slots.add(Slot("ink", (word,), (token,), vectors))
    museum.ledger = with_style(with_exhibition(museum.ledger), "ink", token, str(folder))
    write_museum(path, content_of(museum), keep_history=0)

    words = ("--prompt", "a red cat", "--seed", "3", "--width", "128")
    plan, drawn = SamplingPlan(128, 64, steps=2, guidance=3.0), []
    for style in ("ink", None):
        (picture,) = sample(path, *(("--style", style) if style else ()), *words)
        drawn.append(pixels(picture))
        assert drawn[-1] == by_hand(path, folder, "a red cat", 3, style, plan)
    assert drawn[0] != drawn[1]
