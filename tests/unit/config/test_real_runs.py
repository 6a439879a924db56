"""Config and dataset files as people publish them for sd-scripts: what each means here."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import NetworkArguments, RunConfig
from museum_plugin.errors import ConfigError

ADAFACTOR = {"scale_parameter": False, "relative_step": False, "warmup_init": False}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train/10_ink", "prior/1_man", "masks", "train/4_william"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "meta.json").write_text("{}", encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("a cat --w 512\n", encoding="utf-8")
    (tmp_path / "set.toml").write_text("[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = 'train'\n")
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "museum")


def field(config: RunConfig, path: str) -> object:
    """A value of the run; dataset and subset are the first ones, subset1 is the second one, and so on."""
    datasets = config.styles[0].datasets
    owner, _, name = path.partition(".")
    number = int(owner[-1]) if owner[-1].isdigit() else 0
    if owner.startswith("dataset"):
        return getattr(datasets[number], name)
    return getattr(datasets[0].subsets[number] if owner.startswith("subset") else getattr(config, owner), name)


FILES: dict[str, tuple[str, dict[str, object], str]] = {
    "a notebook's SDXL run, logged at wandb": (
        """[network_arguments]
unet_lr = 0.0003
text_encoder_lr = 6e-5
network_dim = 8
network_alpha = 8
network_module = "networks.lora"
network_train_unet_only = false
[optimizer_arguments]
learning_rate = 0.0003
lr_scheduler = "cosine_with_restarts"
lr_scheduler_num_cycles = 3
lr_warmup_steps = 26
optimizer_type = "AdamW8bit"
optimizer_args = [ "weight_decay=0.1", "betas=[0.9,0.99]",]
loss_type = "l2"
[training_arguments]
lowram = true
train_data_dir = "train"
resolution = 1024
max_train_epochs = 10
xformers = false
sdpa = true
multires_noise_iterations = 6
multires_noise_discount = 0.3
[saving_arguments]
log_prefix = "mine"
wandb_api_key = "k3y"
log_with = "wandb"
""",
        {
            "optimizer.arguments": {"weight_decay": 0.1, "betas": (0.9, 0.99)},
            "optimizer.schedule_cycles": 3,
            "optimizer.text_encoder_learning_rate": 6e-5,
            "network.train_text_encoder": True,
            "loss.multires_noise_iterations": 6,
            "output.log_with": "wandb",
            "output.logging_dir": None,
            "log.wandb_api_key": "k3y",
        },
        "known to sd-scripts but not honoured yet: lowram",
    ),
    "the same notebook for SD2": (
        "[additional_network_arguments]\nunet_lr = 5e-4\ntext_encoder_lr = 1e-4\n[training_arguments]\nclip_skip = 2\n"
        "weighted_captions = false\nmax_train_epochs = 10\nsave_last_n_epochs = 10\nlog_prefix = 'a'\n"
        "[model_arguments]\nv2 = true\nv_parameterization = true\n[dreambooth_arguments]\nprior_loss_weight = 1.0\n"
        "[dataset_arguments]\ncache_latents = true\ndataset_config = 'set.toml'\n",
        {"base.v2": True, "base.v_parameterization": True, "output.save_last_n_epochs": 10, "training.epochs": 10},
        "",
    ),
    "sections named at will, LyCORIS as a LoRA": (
        """[Basics]
train_data_dir = "train"
resolution = "1024"
max_train_steps = 10000	# epochs win
max_train_epochs = 30
keep_tokens_separator = "|||"
[Save]
save_last_n_steps_state = 0
[Network_setup]
network_dropout = 0
dim_from_weights = false
resume = false
[LyCORIS]
network_module = "lycoris.kohya"
network_args = [ "preset=attn-mlp", "algo=lora",]
[Lr_scheduler]
lr_scheduler_type = ""
[Captions]
token_warmup_min = 1
token_warmup_step = 0
""",
        {
            "dataset.resolution": (1024, 1024),
            "subset.keep_tokens_separator": "|||",
            "training.epochs": 30,
            "output.save_last_n_steps_state": None,
            "output.resume": None,
            "optimizer.schedule_class": "",
            "network.arguments": NetworkArguments(),
        },
        "known to sd-scripts but not honoured yet: network_module=lycoris.kohya (networks.lora is trained)",
    ),
    "a whole model, fine-tuned": (
        """[model_arguments]
v2 = false
sdxl = true
v_parameterization = true
[optimizer_arguments]
optimizer_type = "Adafactor"
optimizer_args = [ "scale_parameter=False", "relative_step=False", "warmup_init=False" ]
learning_rate = 6e-6
max_grad_norm = 0.0
train_text_encoder = true
adaptive_noise_scale = 0
min_snr_gamma = 0
[dataset_arguments]
dataset_config = "set.toml"
debug_dataset = false
[training_arguments]
save_n_epoch_ratio = 0
mem_eff_attn = false
[sample_prompt_arguments]
[saving_arguments]
metadata_author = "somebody"
""",
        {
            "optimizer.arguments": ADAFACTOR,
            "optimizer.unet_learning_rate": 6e-6,
            "loss.min_snr_gamma": None,
            "output.save_n_epoch_ratio": None,
            "metadata.author": "somebody",
        },
        "train_text_encoder: the text encoder is trained where text_encoder_lr is given",
    ),
    "a whole model of a fork": (
        "train_data_dir = 'train'\nin_json = 'meta.json'\nresolution = \"1536, 1536\"\nlearning_rate_te2 = 0\n"
        "use_safetensors = true\nddp_timeout = 100000\nlr_scheduler = 'cosine_with_restarts'\n"
        'lr_scheduler_type = "Custom.Schedules.Restarts"\nlr_scheduler_args = ["min_lr=1e-06", "gamma=0.9", '
        "\"first_cycle_steps=4000\"]\nsample_sampler = 'k_euler_a'\n",
        {
            "dataset.resolution": (1536, 1536),
            "optimizer.schedule_arguments": {"min_lr": 1e-6, "gamma": 0.9, "first_cycle_steps": 4000},
            "preview.sampler": "k_euler_a",
        },
        "keys of training front ends that mean nothing here: learning_rate_te2, use_safetensors",
    ),
    "written by a GUI for Prodigy": (
        'train_data_dir = "train"\nresolution = "1024,1024"\nepoch = 30\nmax_train_steps = 0\nmax_train_epochs = 30\n'
        'optimizer_type = "Prodigy"\nunet_lr = 1\ntext_encoder_lr = 1\nmax_data_loader_n_workers = 0\n'
        'dynamo_backend = "no"\nfull_bf16 = true\nlogging_dir = "logs"\n',
        {
            "training.epochs": 30,
            "optimizer.unet_learning_rate": 1.0,
            "optimizer.text_encoder_learning_rate": 1.0,
            "output.log_with": "tensorboard",
        },
        "known to sd-scripts but not honoured yet: full_bf16",
    ),
    "a dataset file named in the config file": (
        'dataset_config = "set.toml"\nepoch = 1\nresolution = "1024,1024"\noptimizer_args = []\n'
        'sample_prompts = "prompts.txt"\nsample_sampler = "euler_a"\nlogging_dir = "out/logs"\n',
        {"dataset.resolution": (512, 512), "preview.prompts": ("a cat",), "output.log_with": "tensorboard"},
        "keys of training front ends that mean nothing here: epoch",
    ),
    "everything under [general]": (
        "[general]\ntrain_data_dir = 'train'\nresolution = 512\noutput_dir = \"./\"\nmin_snr_gamma = 5 \n"
        "text_encoder_lr = 0.00001\nunet_lr = 0.0001\n",
        {"output.output_dir": Path(), "loss.min_snr_gamma": 5.0, "optimizer.text_encoder_learning_rate": 1e-5},
        "",
    ),
    "nothing but a rank": (
        'train_data_dir = "train"\nresolution = 512\nlogging_dir = "logs"\nlog_tracker_name = "lora"\n'
        'log_with = "tensorboard"\nnetwork_module = "networks.lora"\nnetwork_dim = 8\n',
        {"network.rank": 8, "log.tracker_name": "lora"},
        "",
    ),
    "cached texts, and the text encoder asked for": (
        "[sdxl_arguments]\ncache_text_encoder_outputs = true\n[dataset_arguments]\ntrain_data_dir = './train'\n"
        "resolution = '1024,1024'\nshuffle_caption = true\n[optimizer_arguments]\noptimizer_type = 'Prodigy'\n"
        "learning_rate = 1.0\noptimizer_args = ['decouple=True', 'd_coef=2.0']\n[network_arguments]\n"
        "network_train_unet_only = false\nnetwork_train_text_encoder_only = false\n",
        {"optimizer.arguments": {"decouple": True, "d_coef": 2.0}, "network.train_text_encoder": False},
        "network_train_unet_only is false, but without text_encoder_lr the text encoder is not trained",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_published_config_file(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    text, fields, message = FILES[kind]
    Path("run.toml").write_text(text, encoding="utf-8")

    config = parse_command_line(["--config_file", "run.toml"])

    assert {path: field(config, path) for path in fields} == fields
    assert not message or message in caplog.messages


DATA: dict[str, tuple[str, dict[str, object]]] = {
    "a caption extension for a whole dataset": (
        "[general]\nenable_bucket = true\n[[datasets]]\nresolution = 512\nbatch_size = 1 # more is faster\n"
        "caption_extension = '.caption'\n  [[datasets.subsets]]\n  image_dir = 'train/4_william'\n"
        "  class_tokens = 'testmac'\n  num_repeats = 20\n",
        {"subset.caption_extension": ".caption", "subset.num_repeats": 20, "subset.class_tokens": "testmac"},
    ),
    "with pictures of the class": (
        "[general]\nenable_bucket = true\n[[datasets]]\nresolution = 512\nbatch_size = 4\n[[datasets.subsets]]\n"
        "image_dir = 'train/10_ink'\nclass_tokens = 'miadaki man'\nnum_repeats = 30\n[[datasets.subsets]]\n"
        "is_reg = true\nimage_dir = 'prior/1_man'\nclass_tokens = 'man'\nnum_repeats = 1\n",
        {"subset.is_reg": False, "subset1.is_reg": True, "subset1.class_tokens": "man", "dataset.batch_size": 4},
    ),
    "one folder in three sizes": (
        "[general]\nkeep_tokens_separator= '|||'\ncaption_tag_dropout_rate = 0\nmin_bucket_reso = 64\n"
        + "".join(
            f"[[datasets]]\nresolution = [{side}, {side}]\n[[datasets.subsets]]\nimage_dir = './train/10_ink'\n"
            for side in (1024, 768, 512)
        ),
        {"dataset0.resolution": (1024, 1024), "dataset1.resolution": (768, 768), "dataset2.resolution": (512, 512)},
    ),
    "subset keys in the dataset, a tab in a key": (
        "[[datasets]]\nresolution = 512\nbatch_size = 16\nflip_aug = true\nrandom_crop = false\n[[datasets.subsets]]\n"
        "image_dir = 'train/10_ink'\nnum_repeats = 2\n[[datasets.subsets]]\nimage_dir = 'train/4_william'\n"
        "flip_aug\t = false\n",
        {"subset.flip_aug": True, "subset1.flip_aug": False, "subset.num_repeats": 2, "subset1.num_repeats": 1},
    ),
    "captions in a metadata file": (
        "[general]\nshuffle_caption = true\nkeep_tokens = 1\n[[datasets]]\nresolution = [512, 512]\nbatch_size = 4\n"
        "  [[datasets.subsets]]\n  image_dir = 'train'\n  metadata_file = 'meta.json'",
        {"subset.metadata_file": Path("meta.json"), "subset.keep_tokens": 1},
    ),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_published_dataset_file(kind: str) -> None:
    text, fields = DATA[kind]
    Path("data.toml").write_text(text, encoding="utf-8")

    config = parse_command_line(["--dataset_config", "data.toml"])

    assert {path: field(config, path) for path in fields} == fields


def test_masks_are_read_where_masked_loss_is_asked_for() -> None:
    text = (
        '[[datasets]]\nresolution = [1024, 1024]\n[[datasets.subsets]]\nimage_dir = "train\\\\10_ink"\n'
        'conditioning_data_dir = "masks"\nnum_repeats = 10\n'
    )
    Path("train\\10_ink").mkdir()
    Path("data.toml").write_text(text, encoding="utf-8")

    config = parse_command_line(["--dataset_config=data.toml", "--masked_loss"])
    assert field(config, "subset.conditioning_data_dir") == Path("masks")
    with pytest.raises(ConfigError, match="--masked_loss only"):
        parse_command_line(["--dataset_config=data.toml"])
