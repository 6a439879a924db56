"""A museum that begins with another program's LoRA goes on learning, and keeps what the LoRA drew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from museum_plugin.__main__ import main
from museum_plugin.methods import material
from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Outcome, Teach
from tests.recipes.school import School, difference, write_dataset

TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"


@pytest.fixture
def imported(school: School, outcome: Outcome, tmp_path: Path) -> School:
    """A school whose museum is a LoRA that another run wrote, with ranks of two kinds and on the text encoder too."""
    flags = ("--network_dim=3", "--network_alpha=1.5", "--network_args", "conv_dim=2", "conv_alpha=1")
    tensors = outcome(*flags, "--text_encoder_lr=0.01")
    lora = tmp_path / "other.safetensors"
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, lora)
    words = ["--style=old", "--trigger=zk woman", f"--pretrained_model_name_or_path={school.base}"]
    assert main(["import", str(lora), f"--museum={school.museum}", *words]) == 0
    return school


def test_a_style_is_taught_on_an_imported_lora(
    imported: School, teach: Teach, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "museum")
    before = imported.numbers()
    drawn: list[str] = []
    fill = material.fill_bank

    def watched(museum: object, plan: object, progress: Callable[[int], None]) -> object:
        bank = fill(museum, plan, progress)  # type: ignore[arg-type]
        drawn.extend(anchor.prompt for anchor in bank.anchors if anchor.group == 1 and anchor.prompt)
        return bank

    monkeypatch.setattr(material, "fill_bank", watched)
    command = imported.command("--network_dim=3", "--network_alpha=1.5")

    assert teach(command).code == 0

    assert drawn
    assert all(" in zk woman style" in prompt for prompt in drawn)
    found, ledger = imported.numbers(), read_museum(imported.museum).ledger
    assert torch.equal(found[TEXT], before[TEXT])  # the run does not train the text encoder
    assert difference({name: found[name] for name in before}, before) > 1e-4
    assert [record.name for record in ledger.styles] == ["old", "ink"]
    assert ledger.styles[0].scores == {"old": 1.0}
    assert set(ledger.styles[1].scores) == {"old", "ink"}
    assert "old keeps" in caplog.text
    assert ledger.network.shape("lora_unet_mid_block_resnets_0_conv1") == (2, 1.0)
    order = [str(imported.museum), "--style=old", "--prompt=a cat", "--steps=1", f"--out={imported.folder / 'drawn'}"]
    assert main(["sample", *order]) == 0
    assert main(["list", str(imported.museum)]) == 0
    assert main(["show", str(imported.museum), "--style=old"]) == 0
    twice = teach([*command, f"--dataset_config={imported.dataset('ink', 'neon')}"])
    assert twice.code == 0
    assert read_museum(imported.museum).ledger.styles[0].scores == {"old": 1.0}


def test_an_imported_style_without_training_keeps_its_score(imported: School, teach: Teach) -> None:
    before = imported.numbers()
    still = ("--learning_rate=1e-12", "--slot_lr=0", "--method=finetune", "--max_train_steps=1")
    assert teach(imported.command("--network_dim=3", "--network_alpha=1.5", *still)).code == 0
    found = imported.numbers()
    assert difference({name: found[name] for name in before}, before) < 1e-9
    assert read_museum(imported.museum).ledger.styles[1].scores["old"] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--network_dim=4", "--network_alpha=1.5"), "this museum has network_dim 3, not 4; give 3"),
        (("--network_dim=3", "--network_alpha=3"), "this museum has network_alpha 1.5, not 3; give 1.5"),
        (("--network_dim=3", "--network_alpha=1.5", "old"), "style 'old' is in this museum already"),
    ],
)
def test_what_does_not_agree_with_an_imported_museum(
    imported: School, teach: Teach, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    before = imported.museum.read_bytes()
    dataset = write_dataset(tmp_path / "set.toml", {"old" if "old" in flags else "ink": imported.pictures / "ink"})
    done = teach(imported.command(*(flag for flag in flags if flag != "old"), f"--dataset_config={dataset}"))
    assert (done.code in (2, 5), told in done.err) == (True, True), done.err
    assert imported.museum.read_bytes() == before
