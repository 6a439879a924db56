"""Flags and config files become one RunConfig; a mistake is a ConfigError that names the place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.config.arguments import POCKET_MODEL, describe, parse_command_line
from museum_plugin.config.schema import NetworkConfig, OptimizerConfig, RunConfig, TrainingConfig

pytestmark = pytest.mark.usefixtures("run_folder")

DATA = ["--dataset_config", "ukiyoe.toml"]


def parse(*argv: str) -> RunConfig:
    return parse_command_line([*DATA, *argv])


def from_file(text: str, *argv: str) -> RunConfig:
    Path("run.toml").write_text(text, encoding="utf-8")
    return parse("--config_file", "run.toml", *argv)


def test_defaults_are_those_of_the_schema(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "museum")

    config = parse()

    assert (config.base.path, config.training, config.network) == (POCKET_MODEL, TrainingConfig(), NetworkConfig())
    assert config.optimizer == OptimizerConfig()
    assert (config.output.output_dir, config.output.output_name) == (Path("output"), "last")
    assert caplog.messages == [
        f"no --pretrained_model_name_or_path: the embedded pocket model is used ({POCKET_MODEL})"
    ]


@pytest.mark.parametrize(
    ("argv", "owner", "name", "value"),
    [
        (["--train_batch_size", "3"], "dataset", "batch_size", 3),
        (["--enable_bucket"], "dataset", "enable_bucket", True),
        (["--min_bucket_reso", "128"], "dataset", "min_bucket_reso", 128),
        (["--max_bucket_reso", "2048"], "dataset", "max_bucket_reso", 2048),
        (["--bucket_reso_steps", "32"], "dataset", "bucket_reso_steps", 32),
        (["--bucket_no_upscale"], "dataset", "bucket_no_upscale", True),
        (["--resolution", "512"], "dataset", "resolution", (64, 64)),
        (["--caption_extension", ".txt"], "subset", "caption_extension", ".txt"),
        (["--caption_separator", ";"], "subset", "caption_separator", ";"),
        (["--caption_prefix", "a"], "subset", "caption_prefix", "a"),
        (["--caption_suffix", "b"], "subset", "caption_suffix", "b"),
        (["--shuffle_caption"], "subset", "shuffle_caption", True),
        (["--keep_tokens", "2"], "subset", "keep_tokens", 2),
        (["--caption_dropout_rate", "0.1"], "subset", "caption_dropout_rate", 0.1),
        (["--caption_tag_dropout_rate", "0.2"], "subset", "caption_tag_dropout_rate", 0.2),
        (["--flip_aug"], "subset", "flip_aug", True),
        (["--random_crop"], "subset", "random_crop", True),
        (["--color_aug"], "subset", "color_aug", True),
    ],
)
def test_data_flags_are_defaults_of_the_dataset_file(argv: list[str], owner: str, name: str, value: object) -> None:
    dataset = parse(*argv).styles[0].datasets[0]

    assert getattr(dataset if owner == "dataset" else dataset.subsets[0], name) == value


@pytest.mark.parametrize(
    ("argv", "unet", "text_encoder"),
    [
        ([], True, False),
        (["--learning_rate", "1e-4"], True, False),
        (["--text_encoder_lr", "1e-5"], True, True),
        (["--text_encoder_lr", "1e-5", "1e-5"], True, True),
        (["--text_encoder_lr", "0"], True, False),
        (["--text_encoder_lr", "1e-5", "--network_train_unet_only"], True, False),
        (["--text_encoder_lr", "1e-5", "--network_train_text_encoder_only"], False, True),
        (["--text_encoder_lr", "1e-5", "--unet_lr", "0"], False, True),
    ],
)
def test_the_text_encoder_is_trained_only_when_asked_for(argv: list[str], unet: bool, text_encoder: bool) -> None:
    config = parse(*argv)

    assert (config.network.train_unet, config.network.train_text_encoder) == (unet, text_encoder)
    assert (config.optimizer.text_encoder_learning_rate > 0) is text_encoder


def test_the_command_line_wins_over_later_over_earlier_files() -> None:
    Path("a.toml").write_text("seed = 1\nclip_skip = 2\nnetwork_dim = 4\nflip_aug = true\n", encoding="utf-8")
    Path("b.toml").write_text('seed = 2\nclip_skip = 3\nnetwork_dim = ""\n', encoding="utf-8")

    config = parse("--seed", "3", "--config_file", "a.toml", "--config_file", "b", "--flip_aug", "false")

    assert (config.training.seed, config.base.clip_skip, config.network.rank) == (3, 3, 4)
    assert config.styles[0].datasets[0].subsets[0].flip_aug is False


def test_a_config_file_is_flattened_and_converted() -> None:
    config = from_file(
        """\ufeff[optimizer_arguments]
learning_rate = "1e-4"
optimizer_args = ["weight_decay=0.1"]
lr_warmup_steps = 100.0
[training_arguments]
seed = 75.0
min_snr_gamma = 0
sample_prompts = ["a cat", "a house"]
network_module = "networks.lora"
[term_weights]
function_lock = 3
"""
    )

    assert (config.optimizer.unet_learning_rate, config.optimizer.arguments) == (1e-4, {"weight_decay": 0.1})
    assert (config.optimizer.warmup_steps, config.training.seed, config.loss.min_snr_gamma) == (100, 75, None)
    assert (config.method.weights, config.preview.prompts) == ({"function_lock": 3.0}, ("a cat", "a house"))


@pytest.mark.parametrize("value", ['"96,64"', "[96, 64]"])
def test_resolution_has_several_spellings(value: str) -> None:
    Path("bare.toml").write_text('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "img"\n', encoding="utf-8")
    Path("run.toml").write_text(f"resolution = {value}\n", encoding="utf-8")

    config = parse_command_line(["--config_file", "run.toml", "--dataset_config", "bare.toml"])

    assert config.styles[0].datasets[0].resolution == (96, 64)


def test_inputs_beside_the_config_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "prompts.txt").write_text("a cat\n", encoding="utf-8")
    text = 'sample_prompts = "prompts.txt"\noutput_dir = "presets"\nmuseum = "new.safetensors"\n'
    (tmp_path / "presets" / "run.toml").write_text(text, encoding="utf-8")

    config = parse("--config_file", "presets/run.toml")

    assert config.preview.prompts == ("a cat",)
    assert (config.output.output_dir, config.output.museum) == (Path("presets"), Path("new.safetensors"))


def test_each_kind_of_idle_key_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "museum")

    from_file(
        'zero_stage = 3\nnetwork_module = "lycoris.kohya"\nv2 = false\nresume = ""\ndeepspeed = true\n'
        'save_model_as = "safetensors"\nepoch = 1\nsdxl = true\ndynamo_backend = "no"\nxformers = true\n'
        'pretrained_model_name_or_path = "base"\nnetwork_dim = 4\nnetwork_alpha = 1\nlearning_rate = 1e-4\n'
        'lr_scheduler = "constant"\ntext_encoder_lr = 0\n',
        "--huggingface_repo_id",
        "mine",
    )

    assert caplog.messages == [
        "known to sd-scripts but not honoured yet: deepspeed, huggingface_repo_id, "
        "network_module=lycoris.kohya (networks.lora is trained), zero_stage",
        "keys of training front ends that mean nothing here: dynamo_backend, epoch, sdxl",
        "attention: PyTorch's SDPA is used (asked for: xformers or sdpa)",
    ]


ALL_GIVEN = (
    "--network_module=networks.lora --network_dim=32 --network_alpha=16 --learning_rate=1e-4 --lr_scheduler=constant "
    "--text_encoder_lr=1e-5"
)


@pytest.mark.parametrize(
    ("without", "beside", "told"),
    [
        ("--network_dim=32", "", "network_dim 16 (there 4)"),
        ("--network_alpha=16", "", "network_alpha 32 (there 1)"),
        ("--network_alpha=16", "--network_weights=w --dim_from_weights", ""),
        ("--network_alpha=16", "--museum=ukiyoe.toml", ""),
        ("--network_alpha=16", "--museum=new.safetensors", "network_alpha 32 (there 1)"),
        ("--learning_rate=1e-4", "", "learning_rate 0.0001 (there 2e-06)"),
        ("--learning_rate=1e-4", "--unet_lr=1e-4", ""),
        ("--learning_rate=1e-4", "--network_train_text_encoder_only", ""),
        ("--lr_scheduler=constant", "", "lr_scheduler cosine (there constant)"),
        ("--lr_scheduler=constant", "--lr_scheduler_type=ConstantLR", ""),
        ("--lr_scheduler=constant", "--optimizer_type=AdamWScheduleFree", ""),
        ("--lr_scheduler=constant", "--optimizer_type=Adafactor", ""),
        ("--text_encoder_lr=1e-5", "", "text_encoder_lr 0 (there learning_rate)"),
        ("--text_encoder_lr=1e-5", "--network_train_unet_only", ""),
        ("--network_dim=32 --network_alpha=16", "", "network_dim 16 (there 4), network_alpha 16 (there 1)"),
        (ALL_GIVEN, "", ""),
        ("", "", ""),
    ],
)
def test_a_default_that_is_not_that_of_sd_scripts_is_told(
    caplog: pytest.LogCaptureFixture, without: str, beside: str, told: str
) -> None:
    parse(*ALL_GIVEN.replace(without, "").split(), *beside.split())

    start = "not given, and the default is not that of sd-scripts: "
    assert [line for line in caplog.messages if line.startswith(start)] == ([start + told] if told else [])


@pytest.mark.parametrize(
    ("argv", "styles"),
    [
        (["--dataset_config", "ukiyoe.toml"], [(None, None)]),
        (["--dataset_config", "one.toml", "--trigger", "x"], [(None, None)]),
        (["--dataset_config", "two.toml", "--style", "dots"], [(None, None)]),
        (["--dataset_config", "ukiyoe.toml", "--museum", "m"], [("ukiyoe", "auto")]),
        (["--dataset_config", "ukiyoe.toml", "--museum", "m", "--style", "a", "--trigger", "b"], [("a", "b")]),
        (["--dataset_config", "one.toml", "--museum", "m"], [("ink", "nlwx")]),
        (["--dataset_config", "one.toml", "--museum", "m", "--trigger", "auto"], [("ink", "nlwx")]),
        (["--dataset_config", "two.toml", "--museum", "m"], [("ink", "auto"), ("dots", "auto")]),
        (["--dataset_config", "two.toml", "--museum", "m", "--style", "dots", "--trigger", "b"], [("dots", "b")]),
    ],
)
def test_styles_get_names_and_triggers(argv: list[str], styles: list[tuple[str | None, str | None]]) -> None:
    assert [(style.name, style.trigger) for style in parse_command_line(argv).styles] == styles


def test_a_plain_lora_says_that_style_and_trigger_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "museum")

    parse_command_line(["--dataset_config", "one.toml"])

    assert "without --museum a plain LoRA is trained: style and trigger are not used" in caplog.messages


def test_a_folder_of_pictures_names_the_style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dots.v1" / "10_dots").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "dots.v1")

    config = parse_command_line(["--train_data_dir", ".", "--resolution", "64", "--museum", "m"])

    assert [(style.name, style.trigger) for style in config.styles] == [("dots.v1", "auto")]


def test_a_dataset_file_wins_over_a_folder(caplog: pytest.LogCaptureFixture) -> None:
    assert parse("--train_data_dir", "gone").styles == parse().styles
    assert "--train_data_dir is ignored because --dataset_config is given" in caplog.messages


def test_a_run_described_and_read_again_is_the_same(tmp_path: Path) -> None:
    argv = [
        "--museum",
        "m",
        "--trigger",
        "b",
        "--network_dim",
        "4",
        "--text_encoder_lr",
        "1e-5",
        "--term_weights",
        "a=2",
    ]
    config = parse(*argv, "--optimizer_args", "betas=0.9,0.99", "--resolution", "96,64", "--unet_lr", "1e-4")

    described = json.loads(json.dumps(describe(config)))
    lines = [f"{name} = {json.dumps(value)}" for name, value in described.items() if not isinstance(value, dict)]
    lines = [line for line in lines if not line.endswith("= null")]
    tables = [name for name, value in described.items() if isinstance(value, dict)]
    lines += [f"[{name}]\n{key} = {value}" for name in tables for key, value in described[name].items()]
    again = from_file("\n".join(lines))

    assert again == config
    assert (described["network_dim"], described["style"], described["resolution"]) == (4, "ukiyoe", "64,64")


def test_a_description_lists_values_that_differ() -> None:
    assert describe(parse_command_line(["--dataset_config", "two.toml", "--museum", "m"]))["style"] == ["ink", "dots"]


def test_help_shows_every_group_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parse_command_line(["--help"])

    text = capsys.readouterr().out
    assert done.value.code == 0
    assert all(f"\n{group}:\n" in text for group in ("base", "files", "dataset", "network", "style", "slot", "replay"))
    assert f"(default: {NetworkConfig.rank})" in text
    assert "--zero_stage" not in text
