"""Config files as front ends, notebooks and people write them: what each gives, what is said, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.flags import FRONT_END_KEYS
from museum_plugin.config.schema import NetworkArguments, PromptOptions, RunConfig

IDLE = "keys of training front ends that mean nothing here: "


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "train" / "10_ink").mkdir(parents=True)
    (tmp_path / "meta.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "museum")


def read(text: str, *argv: str, name: str = "run.toml", encoding: str = "utf-8", newline: str = "\n") -> RunConfig:
    Path(name).write_text(text, encoding=encoding, newline=newline)
    flag = "--dataset_config" if "data" in name else "--config_file"
    return parse_command_line([flag, name, *argv])


def field(config: RunConfig, path: str) -> object:
    """A value of the run; dataset and subset are those of the first folder."""
    dataset = config.styles[0].datasets[0]
    owner, _, name = path.partition(".")
    return getattr({"dataset": dataset, "subset": dataset.subsets[0]}.get(owner) or getattr(config, owner), name)


WHERE = 'train_data_dir = "train"\nresolution = "512,512"\n'

TRAINING: dict[str, tuple[str, dict[str, object], str | None]] = {
    "notebook with sections": (
        """[sdxl_arguments]
min_timestep = 0
max_timestep = 1000
[model_arguments]
pretrained_model_name_or_path = "/本地路径/模型"
[dataset_arguments]
train_data_dir = "train"
resolution = "1024,1024"
keep_tokens = 0
token_warmup_step = 0
debug_dataset = false
[optimizer_arguments]
optimizer_type = "AdaFactor"
learning_rate = 1e-5
max_grad_norm = 0
optimizer_args = [ "scale_parameter=False", "relative_step=False", "warmup_init=False",]
lr_scheduler = "constant_with_warmup"
lr_warmup_steps = 100
[additional_network_arguments]
network_module = "networks.lora"
network_dim = 32
network_alpha = 16
network_args = [ "conv_dim=4", "conv_alpha=1",]
network_train_unet_only = true
[advanced_training_config]
""",
        {
            "base.path": Path("/本地路径/模型"),
            "dataset.resolution": (1024, 1024),
            "subset.num_repeats": 10,
            "subset.class_tokens": "ink",
            "loss.max_timestep": 1000,
            "optimizer.name": "AdaFactor",
            "optimizer.arguments": {"scale_parameter": False, "relative_step": False, "warmup_init": False},
            "optimizer.max_grad_norm": 0.0,
            "optimizer.schedule": "constant_with_warmup",
            "optimizer.warmup_steps": 100,
            "network.rank": 32,
            "network.alpha": 16.0,
            "network.arguments": NetworkArguments(conv_dim=4, conv_alpha=1.0),
            "network.train_text_encoder": False,
        },
        None,
    ),
    "settings under [general]": (
        f"[general]\n{WHERE}output_name = 'a'\n[network]\nnetwork_dim = 8\n[resolution]\nenable_bucket = true\n",
        {"output.output_name": "a", "network.rank": 8, "dataset.enable_bucket": True},
        None,
    ),
    "flat file in single quotes": (
        WHERE + "network_alpha = 16.0\nnetwork_args = ['module_dropout=0.15']\nscale_weight_norms = 3.0\n"
        "optimizer_args = ['weight_decay=0.1', 'betas=0.9,0.99']\ntext_encoder_lr = 5e-05\nunet_lr = 0.0001\n",
        {
            "network.arguments": NetworkArguments(module_dropout=0.15),
            "optimizer.arguments": {"weight_decay": 0.1, "betas": (0.9, 0.99)},
            "optimizer.text_encoder_learning_rate": 5e-5,
            "network.train_text_encoder": True,
        },
        None,
    ),
    "written by kohya_ss": (
        WHERE + 'dynamo_backend = "no"\nepoch = 5\nlr_scheduler_args = []\nlr_warmup_steps = 100\n'
        'max_train_steps = 500\nnetwork_args = []\nnoise_offset_type = "Original"\noptimizer_args = []\n'
        'persistent_data_loader_workers = 1\n'
        'prior_loss_weight = 1\nreg_data_dir = ""\nsample_prompts = ""\ntext_encoder_lr = []\n',
        {"training.steps": 500, "optimizer.warmup_steps": 100, "network.train_text_encoder": False},
        IDLE + "dynamo_backend, epoch, noise_offset_type",
    ),
    "own launcher, empty strings": (
        WHERE + 'sdxl = true\nmax_train_steps = ""\nnum_cpu_threads_per_process = 2\nsdxl_cache_text_encoder_outputs = '
        "true\nstop_text_encoder_training = 0\nsave_every_n_steps = 0\nresume = false\nlr_scheduler_num_cycles = ''\n",
        {"training.steps": 1600, "output.save_every_n_steps": None, "optimizer.schedule_cycles": 1},
        IDLE + "num_cpu_threads_per_process, sdxl, sdxl_cache_text_encoder_outputs, stop_text_encoder_training",
    ),
    "finetuning keys": (
        WHERE + 'learning_rate = 1e-4\nlearning_rate_te1 = 0\ntrain_inpainting = false\nmax_token_length = 75\n',
        {"optimizer.unet_learning_rate": 1e-4, "base.max_token_length": 75},
        IDLE + "learning_rate_te1, train_inpainting",
    ),
    "lora-scripts": (
        WHERE + 'model_train_type = "sdxl-lora"\nae = "vae.safetensors"\nenable_preview = false\nunet_lr = "1e-4"\n'
        'text_encoder_lr = "1e-5"\nmax_token_length = 255\nlr_restart_cycles = 1\nsample_width = 512\n'
        'network_weights = ""\nmin_snr_gamma = 0\n',
        {
            "optimizer.unet_learning_rate": 1e-4,
            "optimizer.text_encoder_learning_rate": 1e-5,
            "base.max_token_length": 225,
            "network.weights": None,
            "loss.min_snr_gamma": None,
        },
        IDLE + "ae, enable_preview, lr_restart_cycles, model_train_type, sample_width",
    ),
    "prompts in place of their file": (
        WHERE + 'sample_prompts = "(best quality), 1girl --n lowres --w 512 --h 768 --l 7 --s 24 --d 1337"\n',
        {
            "preview.prompts": ("(best quality), 1girl",),
            "preview.options": (PromptOptions("lowres", 512, 768, 24, 7.0, 1337),),
        },
        "run.toml: sample_prompts: no file is named so, and it is taken as prompts, one a line",
    ),
    "LyCORIS that is a LoRA": (
        WHERE + 'network_module = "lycoris.kohya"\nnetwork_args = ["preset=full", "conv_dim=4", "conv_alpha=1", '
        '"use_tucker=False", "rank_dropout=0", "dropout=0", "algo=locon", "dora_wd=False", "factor=-1"]\n',
        {"network.arguments": NetworkArguments(conv_dim=4, conv_alpha=1.0)},
        "known to sd-scripts but not honoured yet: network_module=lycoris.kohya (networks.lora is trained)",
    ),
    "numbers as texts": (
        WHERE + 'seed = "1234"\nkeep_tokens = "1"\ngradient_accumulation_steps = 2.0\nclip_skip = "2"\n'
        'max_data_loader_n_workers = "0"\nenable_bucket = "True"\nnoise_offset = "0.05"\nlr_warmup_steps = "10%"\n',
        {
            "training.seed": 1234,
            "subset.keep_tokens": 1,
            "training.gradient_accumulation_steps": 2,
            "base.clip_skip": 2,
            "training.reader_threads": 0,
            "dataset.enable_bucket": True,
            "loss.noise_offset": 0.05,
            "optimizer.warmup_steps": 160,
        },
        None,
    ),
    "Windows paths": (
        WHERE + "output_dir = 'D:\\new\\train'\nlogging_dir = \"C:\\\\logs\"\noutput_name = \"ink  \"\n",
        {
            "output.output_dir": Path("D:\\new\\train"),
            "output.logging_dir": Path("C:\\logs"),
            "output.output_name": "ink",
        },
        None,
    ),
    "text encoder asked for without a rate": (
        WHERE + "learning_rate = 1e-4\nnetwork_train_unet_only = false\n",
        {"network.train_text_encoder": False},
        "network_train_unet_only is false, but without text_encoder_lr the text encoder is not trained",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRAINING)
def test_a_config_file_means_what_it_says(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    text, fields, message = TRAINING[kind]

    config = read(text)

    assert {path: field(config, path) for path in fields} == fields
    warned = [line for line in caplog.messages if not line.startswith("no --pretrained_model")]
    assert [line for line in warned if line == message] == ([message] if message else [])
    assert len([line for line in warned if line.startswith(IDLE)]) == (1 if message and IDLE in message else 0)


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8-sig", "\r\n")])
def test_byte_order_mark_and_line_ends_change_nothing(encoding: str, newline: str) -> None:
    text = f"{WHERE}  # 注释\nseed = 3   \n[network]  \nnetwork_dim = 4\t\n"
    data = "general = {}\n[[datasets]]\nresolution = 512\nsubsets = [\n  { image_dir = 'train/10_ink' }\n]\n"

    assert read(text, encoding=encoding, newline=newline) == read(text)
    assert read(data, name="data.toml", encoding=encoding, newline=newline) == read(data, name="data.toml")


DATA: dict[str, tuple[str, dict[str, object]]] = {
    "notebook": (
        """[general]
resolution = 512
shuffle_caption = true
keep_tokens = 1
caption_extension = ".txt"
bucket_no_upscale = false
[[datasets]]
[[datasets.subsets]]
num_repeats = 10
image_dir = "train/10_ink"
class_tokens = ""
""",
        {"dataset.resolution": (512, 512), "subset.keep_tokens": 1, "subset.num_repeats": 10},
    ),
    "general at the end": (
        "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'train/10_ink'\n[general]\nresolution = 512\n"
        "flip_aug = true\n",
        {"subset.flip_aug": True},
    ),
    "fine-tuning": (
        "[general]\nkeep_tokens = 2\n[[datasets]]\nresolution = [768, 768]\nbatch_size = 16\nvalidation_split = 0.2\n"
        "validation_seed = 6789\n[[datasets.subsets]]\nimage_dir = './train/10_ink'\nmetadata_file = './meta.json'\n",
        {
            "dataset.resolution": (768, 768),
            "dataset.validation_seed": 6789,
            "subset.metadata_file": Path("meta.json"),
        },
    ),
    "numbers as texts, empty texts": (
        '[[datasets]]\nresolution = "512,768"\nbatch_size = "2"\nmin_bucket_reso = ""\nvalidation_split = ""\n'
        '[[datasets.subsets]]\nimage_dir = "train/10_ink"\nnum_repeats = "3"\nflip_aug = ""\nmetadata_file = ""\n'
        'resize_interpolation = ""\nkeep_tokens_separator = ""\ncaption_extension = "txt"\n',
        {
            "dataset.resolution": (512, 768),
            "dataset.batch_size": 2,
            "dataset.min_bucket_reso": 256,
            "subset.num_repeats": 3,
            "subset.metadata_file": None,
            "subset.resize_interpolation": None,
            "subset.caption_extension": ".txt",
        },
    ),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_dataset_file_means_what_it_says(kind: str) -> None:
    text, fields = DATA[kind]

    config = read(text, name="data.toml")

    assert {path: field(config, path) for path in fields} == fields


@pytest.mark.parametrize("name", FRONT_END_KEYS)
def test_every_key_of_a_front_end_passes(name: str, caplog: pytest.LogCaptureFixture) -> None:
    read(f'model_train_type = "sd-lora"\n{WHERE}' + (f'{name} = "x"\n' if name != "model_train_type" else ""))

    assert [line for line in caplog.messages if line.startswith(IDLE) and name in line]
