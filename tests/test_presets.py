"""Every shipped preset is a valid --config_file, says its command, and what it was measured to need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.memory_forecast import card_of, forecast_of
from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import RunConfig
from museum_plugin.train.forecast import DESKTOP, GIB
from museum_plugin.train.optimizer import finds_its_rates

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "presets").glob("*.toml"))
MEMORY = [f"{family}_{size}gb" for family in ("sd15", "sd2", "sdxl") for size in (6, 8, 12)]
STYLES = ["film_photo", "flat_illustration", "line_art", "painting", "pixel_art", "render_3d"]
DATA = ("--dataset_config=examples/styles/ink.toml", "--museum=m.safetensors")
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
LONGEST = 220
"""Characters of a line: the command needs one of its own."""


def read(*words: Path | str) -> RunConfig:
    """The run that these presets and flags make."""
    argv = [word for each in words for word in (("--config_file", str(each)) if isinstance(each, Path) else (each,))]
    return parse_command_line(argv)


def memory(name: str) -> Path:
    return ROOT / "presets" / f"{name}.toml"


def style(name: str) -> Path:
    return ROOT / "presets" / f"style_{name}.toml"


def test_there_are_presets() -> None:
    assert (ROOT / "presets" / "demo.toml") in PRESETS


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_a_preset_parses_and_says_how_to_use_it(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = preset.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# python train_museum.py --config_file ")
    assert preset.relative_to(ROOT).as_posix() in lines[0]
    assert lines[1].startswith(("# Measured: ", "# Not measured: ", "# Forecast, not measured: "))
    assert all(len(line) <= LONGEST for line in lines)
    run = read(preset) if "dataset_config" in tomllib.loads("\n".join(lines)).get("data", {}) else read(preset, *DATA)
    assert run.base.path.is_dir()


def test_the_demo_teaches_three_styles_into_one_museum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = parse_command_line(["--config_file", "presets/demo.toml"])
    assert [style.name for style in run.styles] == ["ink", "neon", "mosaic"]
    assert run.output.museum is not None


def test_every_example_dataset_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for file in sorted((ROOT / "examples" / "styles").glob("*.toml")):
        run = parse_command_line(["--dataset_config", str(file), "--museum", "m.safetensors"])
        named = [style.name for style in run.styles]
        assert named == ([file.stem] if file.stem not in ("all", "demo") else named)
        assert len(named) == {"all": 8, "demo": 3}.get(file.stem, 1)


def test_there_is_a_preset_for_every_family_and_card_and_kind_of_picture() -> None:
    names = {preset.stem for preset in PRESETS}
    assert names == {"demo", *MEMORY, *(f"style_{name}" for name in STYLES)}


@pytest.mark.parametrize("name", MEMORY)
def test_a_memory_preset_saves_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = read(memory(name), *DATA)
    assert run.training.cache_latents
    assert run.training.vae_batch_size == 1
    assert run.base.mixed_precision in ("fp16", "bf16")
    assert run.network.train_unet
    assert not run.network.train_text_encoder


def test_where_the_unet_has_no_room_as_much_of_it_as_needed_waits_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    swapping = {name for name in MEMORY if read(memory(name), *DATA).base.blocks_to_swap == "auto"}
    assert swapping == {"sdxl_6gb", "sdxl_8gb"}
    assert read(memory("sdxl_6gb"), *DATA).base.cpu_offload_checkpointing


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_a_larger_card_never_gets_less(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    runs = [read(memory(f"{family}_{size}gb"), *DATA) for size in (6, 8, 12)]
    ranks = [run.network.rank for run in runs]
    batches = [
        tomllib.loads(memory(f"{family}_{size}gb").read_text())["data"]["train_batch_size"] for size in (6, 8, 12)
    ]
    checkpointing = [run.base.gradient_checkpointing for run in runs]
    assert ranks == sorted(ranks)
    assert batches == sorted(batches)
    assert checkpointing == sorted(checkpointing, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMORY)
def test_a_memory_preset_fits_its_card_and_says_so_rightly(name: str) -> None:
    """By forecast; preset and docs quote it. `python -m benchmarks.memory_forecast` prints what they should say."""
    _, found = forecast_of(name)
    assert found.fits(card_of(name))
    (row,) = [line for line in PERFORMANCE.splitlines() if line.startswith(f"{name} ")]
    quoted = re.search(r"# Forecast, not measured: ([0-9.]+) GiB of the ([0-9.]+) ", memory(name).read_text())
    assert quoted is not None
    for total, room in (quoted.groups(), row.split()[5:7]):
        assert float(total) == pytest.approx(found.total / GIB, rel=0.02)
        assert float(room) == pytest.approx((card_of(name) - DESKTOP) / GIB, abs=0.01)


@pytest.mark.parametrize("name", MEMORY)
def test_the_learning_rate_is_one_that_the_optimizer_uses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    optimizer = read(memory(name), *DATA).optimizer
    assert not finds_its_rates(optimizer)
    assert optimizer.unet_learning_rate == (1.0 if optimizer.name == "Prodigy" else 1e-4)


@pytest.mark.parametrize(
    ("name", "flips"), [(name, name not in ("film_photo", "flat_illustration")) for name in STYLES]
)
def test_a_style_preset_says_what_its_pictures_want(name: str, flips: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = read(memory("sd15_8gb"), style(name), *DATA)
    assert run.network.rank == 16
    assert run.training.steps == tomllib.loads(style(name).read_text())["style"]["max_train_steps"]
    subset = run.styles[0].datasets[0].subsets[0]
    assert subset.flip_aug == (name not in ("film_photo", "flat_illustration"))
    assert subset.caption_dropout_rate > 0
    assert run.slot.dropout > 0
    assert subset.resize_interpolation == ("nearest" if name == "pixel_art" else None)
    assert (run.loss.min_snr_gamma is None) == (name == "pixel_art")
