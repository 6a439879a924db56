"""SDXL inside a trainer like sd-scripts': two text encoders, its own U-Net, and what it caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.museum.file import read_ledger
from tests.recipes import sd_scripts
from tests.recipes.kohya.conftest import hosting
from tests.recipes.school import TRIGGERS, School, difference, teach_here
from tests.recipes.sd_scripts import BaseDataset, Host, Source
from tests.sdxl_models import write_tiny_sdxl
from tests.tiny_museums import hooks

BOTH: dict[str, Any] = {"network_train_unet_only": False, "text_encoder_lr": [0.01, 0.02]}
FLAGS = ("--text_encoder_lr", "0.01", "0.02", "--network_args", "conv_dim=1")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sdxl(tmp_path_factory.mktemp("hosted") / "sdxl")


@pytest.fixture
def base(sdxl: Path, monkeypatch: pytest.MonkeyPatch) -> BaseModel:
    base = load_base(sdxl)
    sd_scripts.install(monkeypatch, base)
    return base


@pytest.fixture
def school(sdxl: Path, pictures: Path, tmp_path: Path) -> School:
    return School(sdxl, pictures, tmp_path)


@pytest.fixture
def host(base: BaseModel, school: School) -> Iterator[Host]:
    with hosting(base, school) as trainer:
        yield trainer


def test_it_learns_what_train_museum_learns(host: Host, school: School, base: BaseModel) -> None:
    encode_prompts(base, ["a cat"])  # the library's own hooks come with the first prompt
    attached = hooks(base)
    for style in ("ink", "neon"):
        host(style, {"conv_dim": "1", "gate": "off"}, **BOTH).run()
    assert hooks(base) == attached
    by_host, ledger = school.numbers(), read_ledger(school.museum)
    school.museum.unlink()
    for style in ("ink", "neon"):
        own = school.command("--network_alpha=2", *FLAGS, styles=(style,))
        assert teach_here([word for word in own if not word.startswith("--sample_prompts")]) == 0

    assert difference(by_host, school.numbers()) < 2e-4
    moved = read_ledger(school.museum)
    assert ledger.base == moved.base
    assert ledger.network == moved.network
    assert [record.scores for record in ledger.styles] == [
        pytest.approx(record.scores, abs=1e-3) for record in moved.styles
    ]


def test_a_frozen_text_encoder_still_teaches_the_slot_in_both(host: Host) -> None:
    trainer = host("ink").set_up()
    assert not [key for key in trainer.network.lora.layers if key.startswith("lora_te")]
    trainer.gradients(Source(trainer), 0, 0)
    assert [tuple(vectors.shape) for vectors in trainer.network.slot] == [(1, 8), (1, 12)]
    assert all(bool(vectors.grad.any()) for vectors in trainer.network.slot)
    assert torch.is_grad_enabled()


def test_the_terms_see_the_pass_of_the_trainers_own_unet(host: Host) -> None:
    trainer = host("ink").set_up()
    trainer.network.on_step_start(None, None)
    noisy, width = torch.randn(2, 4, 8, 8), trainer.unet.label_emb[0][0].in_features
    pred = trainer.unet(noisy, torch.tensor([10, 20]), torch.randn(2, 77, 20), torch.randn(2, width))
    seen = trainer.network.loop._seen
    assert torch.equal(seen.noisy, noisy)
    assert torch.equal(seen.pred, pred)


def test_cached_text_is_read_anew_with_the_trigger(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    found = []
    for cached in (False, True):
        trainer = host("ink", {"method": "finetune"}, cache_text_encoder_outputs=cached)
        trainer.datasets = [BaseDataset(trainer.pictures)]
        if cached:
            trainer.datasets[0].cache_text()
        trainer.set_up().gradients(Source(trainer), 0, 0)
        assert all(TRIGGERS["ink"] in caption for caption in trainer.datasets[0].seen)
        found.append([vectors.grad for vectors in trainer.network.slot])
        trainer.network.close()
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert "cached text encoder outputs are set aside" in caplog.text
