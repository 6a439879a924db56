"""What each preset for a card is forecast to need of its memory, in the museum's own mode. Nothing here is measured.

python -m benchmarks.memory_forecast [PRESET ...] [--set FLAG=VALUE ...]

The networks are those of SD1.5, SD2 and SDXL in full size, without numbers; pictures are square, in the preset's
resolution and batch size. `python -m museum_plugin check --vram 8` forecasts a run with its own base and pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from museum_plugin.base.clip_tokenizer import clip_tokenizer
from museum_plugin.base.family import FAMILIES
from museum_plugin.base.folder import BaseOutline, EmptyNetworks
from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import RunConfig
from museum_plugin.train.blocks_to_swap import with_blocks_swapped
from museum_plugin.train.dry_run import Subject
from museum_plugin.train.forecast import DESKTOP, GIB, Forecast, Forecaster
from tests.full_shapes import full_shape

_ROOT = Path(__file__).resolve().parents[1]
PRESETS = tuple(f"{family}_{size}gb" for family in ("sd15", "sd2", "sdxl") for size in (6, 8, 12))
_FAMILIES = {"sd15": "sd1", "sd2": "sd2", "sdxl": "sdxl"}
_DATASET = '[[datasets]]\nstyle = "ink"\n[[datasets.subsets]]\nimage_dir = "{pictures}"\n'


@cache
def blueprint(family: str) -> tuple[BaseOutline, EmptyNetworks]:
    """A base model in full size, without numbers."""
    base, facts = full_shape(family), FAMILIES[family]
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
    tokenizers = tuple(clip_tokenizer(padding) for padding in facts.paddings)
    outline = BaseOutline(Path(family), family, facts, "epsilon", 1000, 12, tokenizers)
    return outline, EmptyNetworks(facts, base.unet, base.text_encoders, vae)


def preset_run(preset: str, flags: Sequence[str] = ()) -> RunConfig:
    """The run of a preset, with example pictures."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "style.toml"
        dataset.write_text(_DATASET.format(pictures=(_ROOT / "examples/styles/ink").as_posix()), encoding="utf-8")
        file = _ROOT / "presets" / f"{preset}.toml"
        return parse_command_line(
            [f"--config_file={file}", f"--dataset_config={dataset}", "--museum=museum.safetensors", *flags]
        )


def card_of(preset: str) -> int:
    """Bytes of the card that a preset is named after."""
    return int(preset.rpartition("_")[2].removesuffix("gb")) * GIB


def forecast_of(preset: str, flags: Sequence[str] = ()) -> tuple[RunConfig, Forecast]:
    """The run of a preset on its card, and what it is forecast to need."""
    run = preset_run(preset, flags)
    dataset, family = run.styles[0].datasets[0], _FAMILIES[preset.partition("_")[0]]
    subject = Subject(dataset.resolution, dataset.batch_size, dataset.resolution, ("sks",))
    forecaster = Forecaster(*blueprint(family), subject)
    run = with_blocks_swapped(run, forecaster, card_of(preset))
    return run, forecaster.forecast(run)


def row(preset: str, flags: Sequence[str] = ()) -> str:
    """One line of the table."""
    run, found = forecast_of(preset, flags)
    weights, learned = found.unet + found.text + found.vae, found.trained + found.optimizer + found.kept
    room = (card_of(preset) - DESKTOP) / GIB
    parts = "".join(f"{count / GIB:9.2f}" for count in (weights, learned, found.step, found.between, found.total))
    return f"{preset:12}{parts}{room:7.2f}{run.base.swapped:8d}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=list(PRESETS), metavar="PRESET")
    parser.add_argument("--set", nargs="*", default=[], metavar="FLAG=VALUE", help="more flags of train_museum.py")
    args = parser.parse_args()
    print(f"{'GiB':12}{'weights':>9}{'learned':>9}{'a step':>9}{'before':>9}{'in all':>9}{'room':>7}{'swapped':>8}")
    for preset in args.presets:
        print(row(preset, [f"--{pair}" for pair in args.set]), flush=True)


if __name__ == "__main__":
    main()
