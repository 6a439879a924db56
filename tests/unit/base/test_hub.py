"""A base model by its name on the hub: from the cache on disk, without network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import filter_repo_objects

from museum_plugin.base.hub import cached_base, found_base, is_hub_name
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.outline import outline_fingerprint, read_outline
from museum_plugin.cli.museum_base import load_base_of
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import BaseModelError
from museum_plugin.museum.store import content_of
from tests.tiny_museums import tiny_museum

NAME = Path("ann/tiny-1.5")
Keep = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty, and no way to the hub."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture
def keep(cache: Path, base_folder: Path) -> Keep:
    """Puts the tiny base there, as the hub's own program does, perhaps without some files."""

    def kept(without: str = "nothing") -> Path:
        place = cache / f"models--{NAME.parent}--{NAME.name}"
        snapshot = place / "snapshots" / "0123abc"
        shutil.copytree(base_folder, snapshot, ignore=shutil.ignore_patterns(without))
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("0123abc")
        return snapshot

    return kept


def test_a_base_in_the_cache_is_loaded_by_its_name(keep: Keep, base: BaseModel) -> None:
    folder = keep()
    assert found_base(NAME) == folder
    loaded, outline = load_base(NAME), read_outline(BaseConfig(NAME))
    assert (loaded.fingerprint, loaded.name) == (base.fingerprint, "tiny-1.5")
    assert (outline_fingerprint(outline), outline.name) == (base.fingerprint, "tiny-1.5")


@pytest.mark.parametrize("missing", ["diffusion_pytorch_model.safetensors", "tokenizer", "model.safetensors"])
def test_what_is_not_whole_in_the_cache_is_not_taken(keep: Keep, cache: Path, missing: str) -> None:
    keep(missing)
    with pytest.raises(BaseModelError) as refused:
        load_base(NAME)
    said = str(refused.value)
    assert "\n" not in said
    assert said.startswith(f"{NAME}: no base model there, none whole in the hub's cache ({cache}), and HF_HUB_OFFLINE")


def test_a_name_that_is_nowhere_is_refused_in_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, local_files_only: bool = False, **_options: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no way\nto the hub")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(BaseModelError, match=r"and the hub did not give it \(no way\); pretrained_model"):
        read_outline(BaseConfig(NAME))


def test_a_hub_that_gives_only_what_is_there_is_no_hub(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = keep("model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_args, **_options: str(folder))
    with pytest.raises(BaseModelError, match="and the hub did not give what is missing; "):
        load_base(NAME)


def test_what_is_missing_is_fetched_and_nothing_besides(
    keep: Keep, cache: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    real = huggingface_hub.snapshot_download

    def fetches(name: str, *, local_files_only: bool = False, **options: Any) -> str:
        if local_files_only:
            return real(name, local_files_only=True)
        asked.append(options)
        return str(keep())

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetches)
    assert found_base(NAME) == found_base(NAME)
    (options,) = asked  # the second time it is there
    files = [str(path.relative_to(base_folder)) for path in base_folder.rglob("*") if path.is_file()]
    others = ["unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin", "v1-5.ckpt",
              "safety_checker/model.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors"]  # fmt: skip
    assert sorted(filter_repo_objects([*files, *others], **options)) == sorted(files)


@pytest.mark.parametrize(
    ("path", "named"),
    [("ann/tiny", True), ("ann/v1.5", True), ("models/sd15.safetensors", False), ("tiny", False), ("a/b/c", False),
     ("../tiny", False), ("/ann/tiny", False)],
)  # fmt: skip
def test_what_a_name_looks_like(path: str, named: bool) -> None:
    assert is_hub_name(Path(path)) == named


def test_a_folder_of_that_path_comes_first(keep: Keep, cache: Path) -> None:
    keep()
    NAME.mkdir(parents=True)
    assert found_base(NAME) == NAME


def test_a_museum_finds_its_base_by_the_name_it_was_taught_on(keep: Keep, base: BaseModel, tmp_path: Path) -> None:
    keep()
    museum = tiny_museum(base, "ink")
    ledger = content_of(museum).ledger
    record = ledger.styles[-1]
    record.settings["pretrained_model_name_or_path"] = str(NAME)
    assert load_base_of(tmp_path / "mine.safetensors", ledger, None).fingerprint == base.fingerprint
    assert cached_base(NAME) is not None
