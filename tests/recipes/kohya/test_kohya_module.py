"""What the network module gives a trainer besides: groups, files, norms, other LoRAs, and everything back."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file

from museum_plugin.base.load import BaseModel
from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.file import read_ledger, read_museum, write_museum
from tests.recipes.kohya.conftest import Finished
from tests.recipes.school import TRIGGERS, School
from tests.recipes.sd_scripts import BaseDataset, Host
from tests.tiny_museums import hooks, prediction


def test_the_trainers_networks_are_given_back(host: Host, base: BaseModel, school: School) -> None:
    backward, made_ready, before = Accelerator.backward, BaseDataset.set_current_strategies, hooks(base)
    trainer = host("ink").set_up()
    assert hooks(base) > before
    assert Accelerator.backward is not backward
    trainer.network.close()
    host("neon").run()
    assert hooks(base) == before
    assert (Accelerator.backward, BaseDataset.set_current_strategies) == (backward, made_ready)


@pytest.mark.usefixtures("knows_ink")
def test_a_museum_keeps_its_own_rank_unless_another_is_asked_for(
    host: Host, school: School, capsys: pytest.CaptureFixture[str]
) -> None:
    host("neon", network_dim=None, network_alpha=1.0).run()
    assert read_ledger(school.museum).network.shape("any") == (2, 2.0)
    with pytest.raises(SystemExit):
        host("dots", network_dim=8).set_up()
    assert "this museum has network_dim 2, not 8; give 2" in capsys.readouterr().err


def test_a_plain_backward_pass_is_left_alone(host: Host) -> None:
    trainer = host("ink").set_up()
    weight = torch.ones((), requires_grad=True)
    trainer.accelerator.backward(weight * 3)
    assert weight.grad == 3


def test_groups_have_names_and_rates(host: Host) -> None:
    trainer = host("ink", {"slot_lr": "0.02"}, network_train_unet_only=False, unet_lr=0.003, text_encoder_lr=[0.001])
    trainer.set_up()
    rates = [group["initial_lr"] for group in trainer.optimizer.param_groups]
    assert dict(zip(trainer.descriptions, rates, strict=True)) == {"unet": 0.003, "te": 0.001, "slot": 0.02}
    plain = trainer.network.prepare_optimizer_params(0.0, None, 0.5)
    assert [group["lr"] for group in plain] == [0.5, 0.02]


def test_every_caption_carries_the_trigger(finished: Finished) -> None:
    captions = finished.trainer.datasets[0].seen
    assert len(captions) == 6
    assert all(caption.endswith(f" in {TRIGGERS['ink']} style") for caption in captions)


def test_terms_are_told(finished: Finished) -> None:
    (line,) = [line for line in finished.said if line.startswith("terms of")]
    assert line.startswith("terms of 'ink', means of 3 steps: function_lock ")
    assert float(line.split("function_lock ")[1].split(",")[0]) > 0


def test_the_ledger_remembers_what_was_asked_for(finished: Finished) -> None:
    museum = finished.school.museum
    record = read_ledger(museum).style("ink")
    assert record.weights == {"function_lock": 2.0, "feature_lock": 1.0}
    told = {name: record.settings[name] for name in ("unet_lr", "text_encoder_lr", "network_dim", "seed", "museum")}
    assert told == {"unet_lr": 0.003, "text_encoder_lr": 0.0, "network_dim": 2, "seed": 0, "museum": str(museum)}


def test_the_header_says_what_the_trainer_says_but_nothing_endless(finished: Finished) -> None:
    metadata = read_museum(finished.school.museum).metadata
    assert metadata == {"ss_training_comment": "by hand", "modelspec.author": "Ann", "ss_session_id": "17"}
    with safe_open(finished.school.museum, "pt") as file:
        header = file.metadata()
    expected = {
        "ss_steps": "3", "ss_seed": "0", "ss_unet_lr": "0.003", "ss_num_train_images": "8", "ss_num_reg_images": "0",
        "ss_num_batches_per_epoch": "4", "ss_epoch": "1", "ss_resolution": "(64, 64)", "modelspec.resolution": "64x64",
    }  # fmt: skip
    assert {key: header[key] for key in expected} == expected
    assert json.loads(header["ss_bucket_info"]) == {"buckets": {"0": {"resolution": [64, 64], "count": 8}}}


@pytest.mark.usefixtures("knows_ink")
def test_what_a_trainer_said_of_one_style_is_not_said_of_the_next(host: Host, school: School) -> None:
    content = read_museum(school.museum)
    content.metadata.update({"ss_session_id": "3", "ss_training_comment": "first"})
    write_museum(school.museum, content, keep_history=0)
    museum = host("neon", training_comment=None).set_up().network.museum
    assert museum.metadata == {"ss_training_comment": "first", "modelspec.author": "Ann"}


def test_a_file_for_publishing_has_the_form_that_is_asked_for_and_the_museum_is_whole(finished: Finished) -> None:
    published = load_file(finished.school.folder / "host" / "ink.safetensors")
    assert {tensor.dtype for name, tensor in published.items() if not name.endswith("alpha")} == {torch.float16}
    with pytest.raises(MuseumFileError):
        read_ledger(finished.school.folder / "host" / "ink.safetensors")
    assert {tensor.dtype for tensor in load_file(finished.school.museum).values()} == {torch.float32}


def test_the_museum_is_published_as_by_our_own_trainer(finished: Finished) -> None:
    folder = finished.trainer.network.run.output.output_dir / "mine-sidecars"
    assert [path.stem for path in (folder / "embeddings").iterdir()] == [TRIGGERS["ink"]]
    assert (folder / "mine.png").is_file()


def test_layers_keep_below_the_norm(host: Host, school: School) -> None:
    trainer = host("ink", scale_weight_norms=0.01).set_up()
    with torch.no_grad():
        for parameter in trainer.network.lora.parameters():
            parameter.fill_(0.3)
    scaled, mean, largest = trainer.network.apply_max_norm_regularization(0.01, "cpu")
    assert scaled == len(trainer.network.lora.layers)
    assert (mean, largest) == pytest.approx((0.01, 0.01), rel=1e-4)


def test_multiplier_0_is_the_bare_base(host: Host, base: BaseModel) -> None:
    bare = prediction(base)
    trainer = host("ink").set_up()
    with torch.no_grad():
        for parameter in trainer.network.lora.parameters():
            parameter.fill_(0.1)
    assert not torch.equal(prediction(base), bare)
    trainer.network.set_multiplier(0.0)
    assert torch.equal(prediction(base), bare)
    trainer.network.set_multiplier(1.0)
    assert not torch.equal(prediction(base), bare)


def test_other_loras_are_merged_and_started_from_as_in_train_museum(host: Host, finished: Finished) -> None:
    other, key = str(finished.school.folder / "host" / "ink.safetensors"), "lora_unet_mid_block_attentions_0_proj_in"
    merged = {"base_weights": [other], "base_weights_multiplier": [0.5]}
    trainer = host("neon", network_weights=other, dim_from_weights=True, network_dim=None, **merged).set_up()
    assert trainer.network.museum.base.name == "tiny + ink * 0.5"
    down = load_file(other)[f"{key}.lora_down.weight"].float()
    assert torch.equal(trainer.network.lora.layers[key].down, down.flatten(1))


def test_outside_of_sd_scripts_it_says_so(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "library.strategy_base")
    with pytest.raises(SystemExit):
        host("ink").set_up()
    assert "works inside the trainers of sd-scripts" in capsys.readouterr().err
