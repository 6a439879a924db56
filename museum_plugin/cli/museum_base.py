"""Where the base model of a museum is found when the user does not say."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import PartialState

from museum_plugin.base.hub import is_hub_name
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.schedule import with_zero_terminal_snr
from museum_plugin.cli.parser import BASE_FLAG
from museum_plugin.config.arguments import POCKET_MODEL
from museum_plugin.config.read import existing
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import BaseModelError
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.lora_file import merge_all_into_base
from museum_plugin.museum.store import content_of, open_museum

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def load_base_of(museum: Path, ledger: Ledger, chosen: Path | None) -> BaseModel:
    """The folder the user chose; else the one the newest style was taught on; else the embedded one if it is the base.

    Whether a chosen or recorded folder is the museum's base is left to `open_museum`.

    Raises:
        BaseModelError: it cannot be loaded, or is not found; says which one it is.
    """
    if chosen is not None:
        return load_base(chosen, _asked(museum, ledger, chosen))
    recorded = ledger.styles[-1].settings.get(BASE_FLAG) if ledger.styles else None
    if isinstance(recorded, str) and recorded:
        folder = existing(Path(recorded), museum.parent)
        if folder.exists() or is_hub_name(folder):
            return load_base(folder, _asked(museum, ledger, folder))
    if POCKET_MODEL.is_dir():
        base = load_base(POCKET_MODEL)
        if base.fingerprint == ledger.base.fingerprint:
            return base
    place = f"not at {recorded} any more" if recorded else "at an unknown place"
    name = f"{ledger.base.name!r} ({ledger.base.family})"
    raise BaseModelError(f"{museum}: its base model {name} is {place}; give its folder with --{BASE_FLAG}")


def base_to_draw_with(museum: Path, ledger: Ledger, chosen: Path | None) -> BaseModel:
    """The base of a museum as its newest style was judged on it: noise schedule, merged weights, device, precision.

    Raises:
        BaseModelError, MuseumFileError: see `load_base_of`; or the weights that were merged in cannot be read.
    """
    base = _scheduled(load_base_of(museum, ledger, chosen), ledger)
    return _with_base_weights(base, museum, ledger).to(PartialState().device, _precision(ledger))


def _scheduled(base: BaseModel, ledger: Ledger) -> BaseModel:
    """Under the noise schedule that the newest style was judged on."""
    recorded = ledger.styles[-1].settings.get("zero_terminal_snr") if ledger.styles else None
    return with_zero_terminal_snr(base) if recorded is True else base


def _with_base_weights(base: BaseModel, museum: Path, ledger: Ledger) -> BaseModel:
    """With the LoRA files merged in that the newest style was taught on."""
    settings = ledger.styles[-1].settings if ledger.styles else {}
    paths = [existing(Path(path), museum.parent) for path in settings.get("base_weights") or []]
    return merge_all_into_base(base, paths, settings.get("base_weights_multiplier") or [])


def _precision(ledger: Ledger) -> torch.dtype:
    """As the newest style was judged; a CPU draws in float32, which it does faster."""
    recorded = ledger.styles[-1].settings.get("mixed_precision") if ledger.styles else None
    on_cpu = PartialState().device.type == "cpu"
    return torch.float32 if on_cpu else _DTYPES.get(str(recorded), torch.float32)


def with_base_rows(path: Path, content: MuseumContent, chosen: Path | None) -> MuseumContent:
    """A museum with the base's own embeddings of its triggers, which files of earlier versions do not hold.

    Raises:
        BaseModelError: they are not in the file, and the base model is not found or cannot be loaded.
        MuseumFileError: the base is another one.
    """
    if content.base_rows or not content.slots:
        return content
    return content_of(open_museum(path, load_base_of(path, content.ledger, chosen)))


def _asked(museum: Path, ledger: Ledger, base: Path) -> BaseConfig:
    """What the newest style was taught with: another VAE, and what a checkpoint file does not say of itself."""
    settings = ledger.styles[-1].settings if ledger.styles else {}

    def said(name: str) -> bool | None:
        return settings[name] if isinstance(settings.get(name), bool) else None

    def place(name: str) -> Path | None:
        recorded = settings.get(name)
        return existing(Path(recorded), museum.parent) if isinstance(recorded, str) else None

    return BaseConfig(
        base,
        v2=said("v2"),
        v_parameterization=said("v_parameterization"),
        vae=place("vae"),
        tokenizer_cache_dir=place("tokenizer_cache_dir"),
    )
