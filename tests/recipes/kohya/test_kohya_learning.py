"""What a trainer like sd-scripts' teaches with the network module: a museum grows, nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.museum.file import read_ledger
from museum_plugin.museum.history import history
from tests.recipes.school import TRIGGERS, School, difference, same, teach_here, tensors_of
from tests.recipes.sd_scripts import Host, Source, Trainer


def tensors_of_bytes(museum: bytes, school: School) -> dict[str, torch.Tensor]:
    file = school.folder / "before.safetensors"
    file.write_bytes(museum)
    return tensors_of(file)


def taught(host: Host, school: School, network_args: dict[str, str], **changes: Any) -> dict[str, torch.Tensor]:
    """All numbers after `neon`, each time on the same museum of `ink`, which is put back."""
    before = school.museum.read_bytes()
    trainer = host("neon", network_args, **changes)
    trainer.run()
    numbers = school.numbers()
    school.museum.write_bytes(before)
    return numbers


def test_two_styles_grow_a_museum_and_the_first_slot_never_changes(host: Host, school: School) -> None:
    host("ink").run()
    first = school.numbers()
    host("neon", save_every_n_steps=2).run()
    both, ledger = school.numbers(), read_ledger(school.museum)
    assert [(s.name, s.trigger, s.steps, s.pictures) for s in ledger.styles] == [
        ("ink", TRIGGERS["ink"], 3, 4),
        ("neon", TRIGGERS["neon"], 3, 4),
    ]
    assert torch.equal(first["slot ink"], both["slot ink"])
    assert not same({k: v for k, v in both.items() if k in first}, first)
    assert all(
        set(record.scores) == set(names)
        for record, names in zip(ledger.styles, [["ink"], ["ink", "neon"]], strict=True)
    )
    assert len(history(school.museum)) == 1
    assert (school.folder / "host" / "neon-02-neon-grid.png").exists()


def test_only_the_last_file_of_a_run_becomes_the_museum(host: Host, school: School) -> None:
    trainer = host("ink", save_every_n_steps=2)
    saved: list[bool] = []
    save = Trainer._save

    def watched(self: Trainer, name: str, steps: int) -> None:
        saved.append(school.museum.exists())
        save(self, name, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_save", watched)
        trainer.run()
    assert saved == [False, False]
    between, last = (school.folder / "host" / f"{name}.safetensors" for name in ("ink-step00000002", "ink"))
    assert [read_ledger(file).style("ink").steps for file in (between, last)] == [2, 3]
    assert same(tensors_of(last), school.numbers())
    assert not same(tensors_of(between), school.numbers())


def test_it_learns_what_train_museum_learns(host: Host, school: School) -> None:
    styles = ("ink", "neon")
    for style in styles:
        host(style).run()
    by_host, ledger = school.numbers(), read_ledger(school.museum)
    school.museum.unlink()
    for style in styles:
        own = school.command("--network_alpha=2", styles=(style,))
        own = [word for word in own if not word.startswith("--sample_prompts")]
        assert teach_here(own) == 0
    own_numbers = school.numbers()
    for numbers in (by_host, own_numbers):  # the middle has one position: what it attends to is nothing but rounding
        for name in [
            name for name in numbers if "mid_block" in name and ("attn1_to_q" in name or "attn1_to_k" in name)
        ]:
            del numbers[name]
    assert difference(by_host, own_numbers) < 2e-4
    moved = read_ledger(school.museum)
    assert ledger.base == moved.base
    assert ledger.network == moved.network
    for one, other in zip(ledger.styles, moved.styles, strict=True):
        assert one.extra["captions"] == other.extra["captions"]
        assert one.scores == pytest.approx(other.scores, abs=1e-3)
        assert one.weights == other.weights


@pytest.mark.usefixtures("knows_ink")
def test_every_term_acts(host: Host, school: School) -> None:
    without = taught(host, school, {"method": "finetune"})
    for term in ("function_lock", "feature_lock", "weight_regularization", "style_distillation"):
        weighted = taught(host, school, {"method": "finetune", "term_weights": f"{term}=50"})
        assert difference(without, weighted) > 1e-4, term


@pytest.mark.usefixtures("knows_ink")
def test_accumulated_micro_steps_are_one_large_step(host: Host, school: School) -> None:
    before, found = school.museum.read_bytes(), []
    for accumulated in (1, 2):
        school.museum.write_bytes(before)
        terms = {"method": "finetune", "term_weights": "feature_lock=50", "slot_lr": "0.5"}
        trainer = host("neon", terms, gradient_accumulation_steps=accumulated, learning_rate=0.5)
        trainer.batch_size, trainer.halves, trainer.optimizer_type = 4, accumulated == 2, "SGD"
        trainer.run()
        found.append(school.numbers())
    assert difference(*found) < 1e-5
    assert difference(found[0], {**tensors_of_bytes(before, school), "slot neon": found[0]["slot neon"]}) > 1e-3
    assert read_ledger(school.museum).style("neon").steps == 3


@pytest.mark.usefixtures("knows_ink")
def test_the_terms_are_scaled_as_the_loss_is(host: Host, school: School) -> None:
    found = []
    for scale in (1.0, 1024.0):
        trainer = host("neon", {"method": "finetune", "term_weights": "function_lock=50"}).set_up()
        trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer.gradients(Source(trainer), 0, 0)
        found.append([p.grad / scale for p in trainer.network.get_trainable_params() if p.grad is not None])
        trainer.network.close()
    assert len(found[0]) > 100
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_terms_see_the_pass_that_is_learned_from(host: Host) -> None:
    trainer = host("ink").set_up()
    unet, loop = trainer.base.unet, trainer.network.loop
    noisy, states = torch.randn(3, 2, 4, 8, 8), torch.randn(2, 77, 16)
    t = torch.tensor([10, 20])
    unet(noisy[0], t, states)
    trainer.network.on_step_start(None, None)
    pred = unet(noisy[1], t, states).sample
    with torch.no_grad():  # as where another prediction is kept as it was
        unet(noisy[2], t, states)
    assert torch.equal(loop._seen.noisy, noisy[1])
    assert torch.equal(loop._seen.pred, pred)
    assert loop._seen.pred.requires_grad


@pytest.mark.parametrize("checkpointing", [False, True])
def test_where_no_activations_are_kept_an_input_has_a_gradient(
    host: Host, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    trainer = host("ink", gradient_checkpointing=checkpointing).set_up()
    asked: list[bool] = []
    predict = Denoiser.predict

    def watched(self: Denoiser, noisy: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append(noisy.requires_grad)
        return predict(self, noisy, *rest)

    monkeypatch.setattr(Denoiser, "predict", watched)
    trainer.gradients(Source(trainer), 0, 0)
    assert asked == [checkpointing]


@pytest.mark.usefixtures("knows_ink")
def test_gradients_are_clipped_with_the_terms_in_them(host: Host, school: School) -> None:
    usual = taught(host, school, {}, max_grad_norm=0.0)
    clipped = taught(host, school, {}, max_grad_norm=1e-9)
    assert difference(usual, clipped) > 1e-3


def test_the_slot_is_learned_although_the_trainer_freezes_the_text_encoder(host: Host) -> None:
    trainer = host("ink", network_train_unet_only=True).set_up()
    assert not [key for key in trainer.network.lora.layers if key.startswith("lora_te")]
    trainer.gradients(Source(trainer), 0, 0)
    assert bool(trainer.network.slot[0].grad.any())
    assert all(parameter.grad is None for parameter in trainer.base.text_encoders[0].parameters())
    assert torch.is_grad_enabled()


def test_the_text_encoder_is_taught_as_in_sd_scripts(host: Host) -> None:
    trainer = host("ink", network_train_unet_only=False).set_up()
    trainer.gradients(Source(trainer), 0, 0)
    text = [layer for key, layer in trainer.network.lora.layers.items() if key.startswith("lora_te")]
    assert len(text) == 12
    assert all(bool(layer.up.grad.any()) for layer in text)


def test_a_text_encoder_with_rate_0_gets_no_layers(host: Host) -> None:
    trainer = host("ink", network_train_unet_only=False, text_encoder_lr=[0.0]).set_up()
    assert not [key for key in trainer.network.lora.layers if key.startswith("lora_te")]


def test_some_pictures_are_learned_with_the_plain_word(host: Host, school: School) -> None:
    trainer = host("ink", {"slot_dropout": "0.5"})
    read: list[torch.Tensor] = []
    trainer.base.text_encoders[0].register_forward_hook(lambda _m, _i, out: read.append(out.last_hidden_state.detach()))
    slots = trainer.set_up().network.museum.slots
    with torch.no_grad():
        trainer.network.slot[0].mul_(50)
    trainer.network.on_step_start(None, None)
    tokenizer = trainer.base.tokenizers[0]
    prompt = f"a cat in {TRIGGERS['ink']} style"
    ids = tokenizer([prompt] * 4, padding="max_length", max_length=77, return_tensors="pt").input_ids
    trainer.base.text_encoders[0](ids)
    trainer.accelerator.backward(trainer.network.slot[0].sum())
    trainer.base.text_encoders[0](ids)
    with slots.disabled():
        trainer.base.text_encoders[0](ids)
    mixed, with_slot, plain = read[-3:]
    is_plain = [torch.equal(row, other) for row, other in zip(mixed, plain, strict=True)]
    assert sum(is_plain) == 2
    assert [torch.equal(row, other) for row, other in zip(mixed, with_slot, strict=True)] == [not p for p in is_plain]


@pytest.mark.usefixtures("knows_ink")
def test_a_resumed_run_equals_an_unbroken_one(host: Host, school: School) -> None:
    whole = taught(host, school, {}, save_every_n_steps=2, save_state=True)
    state = school.folder / "host" / "neon-step00000002-state"
    trainer = host("neon", resume=state)
    trainer.run(start=2)
    assert same(whole, school.numbers())
    assert read_ledger(school.museum).style("neon").steps == 3


def test_a_state_of_another_style_is_refused(host: Host, capsys: pytest.CaptureFixture[str], school: School) -> None:
    host("ink", save_every_n_steps=2, save_state=True).run()
    before = school.museum.read_bytes()
    with pytest.raises(SystemExit) as stop:
        host("neon", resume=school.folder / "host" / "ink-step00000002-state").run()
    assert stop.value.code == 2
    assert "error: resume: the state is not one of style 'neon'" in capsys.readouterr().err
    assert school.museum.read_bytes() == before
