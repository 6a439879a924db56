"""Commands as people publish them for sd-scripts: what each means here, and which cannot be meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import NetworkArguments
from museum_plugin.errors import ConfigError
from tests.unit.config.test_real_runs import ADAFACTOR, field

NOT_SD = "the bases taught here are Stable Diffusion 1.x, 2.x and XL"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train/10_ink", "prior/1_man"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "prompts.json").write_text('[{"prompt": "a cat", "width": 1024}]', encoding="utf-8")
    (tmp_path / "set.toml").write_text("[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = 'train'\n")
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "museum")


COMMANDS: dict[str, tuple[str, dict[str, object], str]] = {
    "a flag cut short": (
        '--network_module "networks.lora" --dataset_config "set.toml" --prior_loss_weight 1.0 --max_train_steps 400 '
        '--max_train_epoch 50 --optimizer_type "AdamW8bit" --save_every_n_epoch=2 --xformers --cache_latents',
        {"training.epochs": 50, "output.save_every_n_epochs": 2},
        "--max_train_epoch: taken as --max_train_epochs",
    ),
    "LoCon of LyCORIS": (
        '--dataset_config=set.toml --lr_scheduler="cosine" --text_encoder_lr=1e-5 --sample_prompts="prompts.json" '
        '--no_half_vae --network_dim=32 --network_args "conv_dim=32" "conv_alpha=1.0" "algo=locon" '
        "--network_module=lycoris.kohya",
        {"network.arguments": NetworkArguments(conv_dim=32, conv_alpha=1.0), "preview.prompts": ("a cat",)},
        "known to sd-scripts but not honoured yet: network_module=lycoris.kohya (networks.lora is trained)",
    ),
    "Adafactor with its arguments in words": (
        '--dataset_config=set.toml --logging_dir=out/logs --log_with="tensorboard" --optimizer_type="Adafactor" '
        '--optimizer_args "scale_parameter=False" "relative_step=False" "warmup_init=False" --lr_warmup_steps=100 '
        "--network_train_unet_only --no_half_vae",
        {"optimizer.name": "Adafactor", "optimizer.arguments": ADAFACTOR, "optimizer.warmup_steps": 100},
        "",
    ),
    "SD2 that predicts v": (
        "--dataset_config=set.toml --save_model_as=safetensors --logging_dir=logs --v2 --v_parameterization",
        {"base.v2": True, "base.v_parameterization": True, "output.log_with": "tensorboard"},
        "",
    ),
    "a script for folders": (
        '--enable_bucket --train_data_dir=train --reg_data_dir=prior --log_prefix=aki --resolution=512,768'
        ' --lr_warmup_steps=0 '
        '--lr_scheduler_num_cycles=1 --seed="1337" --prior_loss_weight=1 --max_token_length=225 --keep_tokens=0 '
        "--shuffle_caption --persistent_data_loader_workers",
        {"dataset.resolution": (512, 768), "training.seed": 1337, "base.max_token_length": 225, "log.prefix": "aki"},
        "",
    ),
    "logged at wandb": (
        "--dataset_config=set.toml --log_with wandb --wandb_run_name first",
        {"output.log_with": "wandb", "log.wandb_run_name": "first"},
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_published_command(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    words, fields, message = COMMANDS[kind]

    config = parse_command_line(shlex.split(words))

    assert {path: field(config, path) for path in fields} == fields
    assert not message or message in caplog.messages


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--ae=vae/ae.safetensors", f"--ae: belongs to Flux, SD3 and the like; {NOT_SD}"),
        ("--timestep_sampling sigmoid", f"--timestep_sampling: belongs to Flux, SD3 and the like; {NOT_SD}"),
        ("--network_module networks.lora_flux", f"found 'networks.lora_flux', allowed: networks.lora; {NOT_SD}"),
        (
            "--network_module=networks.loha",
            "found 'networks.loha', allowed: networks.lora; only a LoRA is trained here",
        ),
        ("--network_module=networks.dylora", "found 'networks.dylora', allowed: networks.lora; only a LoRA"),
        ("--loss_type fourier", "--loss_type: found 'fourier', allowed: l2, l1, huber, smooth_l1"),
        ("--men_eff_attn", '--men_eff_attn: unknown; did you mean "mem_eff_attn"?'),
        ("--lr_sched=cosine", '--lr_sched: unknown; did you mean "lr_scheduler"?'),
        ("--alpha=8", '--alpha: unknown; did you mean "network_alpha"?'),
        ("--max_train_steps=0", "--max_train_steps: found 0, must be 1 or more"),
    ],
)
def test_a_command_that_cannot_be_meant(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_command_line(["--dataset_config=set.toml", *shlex.split(words)])
    assert message in str(error.value)
