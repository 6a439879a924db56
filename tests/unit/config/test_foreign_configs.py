"""Files that cannot be meant as they are given: presets, other trainers' configs, other bases, common mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.errors import ConfigError

WHERE = 'train_data_dir = "train"\nresolution = "512,512"\n'
BASES = "the bases taught here are Stable Diffusion 1.x, 2.x and XL"
NOT_SD = f"; {BASES}"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train" / "10_ink").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


def refused(text: str, name: str = "run.toml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        parse_command_line(["--dataset_config" if "data" in name else "--config_file", name])
    return str(error.value)


PRESET = (
    "this is a preset of the kohya_ss GUI (LoRA_type, additional_parameters, max_resolution), no file of flags; load "
    "it in the GUI and give the .toml file that the GUI writes when it trains"
)
FOLDER = "datasets[0].subsets[0]: "


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gui.json", '{"LoRA_type": "Standard", "additional_parameters": "", "max_resolution": "512,512"}', PRESET),
        ("gui.toml", "[model]\nLoRA_type = 'Standard'\n[basic]\nadditional_parameters = ''\nmax_resolution = '512,512'",
         PRESET),
        ("data.json", '{"LoRA_type": "x", "additional_parameters": "", "max_resolution": "512", "seed": 1}', PRESET),
        ("one.json", '{"training_method": "LORA", "concept_file_name": "c.json", "base_model_name": "b"}',
         "this is a config of OneTrainer; write the settings as a TOML file of flags"),
        ("easy.toml", "[[subsets]]\nimage_dir = 'a'\n[general_args.args]\nseed = 1\n", "this is a file of "
         "LoRA_Easy_Training_Scripts; write the keys of its tables `args` as one TOML file and those of [[subsets]] as "
         "a dataset file"),
        ("a.json", '{"network_module": "networks.lora", "learning_rate": "1e-4"}', "allowed: a TOML file"),
        ("a.json", "{", "a.json: not valid JSON: Expecting property name enclosed in double quotes"),
        ("a.toml", "[[datasets]]\n[model_arguments]\nseed = 1\n", "datasets: this is a dataset file; give it with "
         "--dataset_config"),
        ("data.toml", "[model_arguments]\nseed = 1\n", "no [[datasets]]; if this is a config file, give it with "
         "--config_file"),
        ("a.toml", WHERE + "network_module = 'networks.lora_flux'", "network_module: found 'networks.lora_flux'"
         + NOT_SD),
        ("a.toml", WHERE + "model_train_type = 'flux-lora'", "model_train_type: found 'flux-lora'" + NOT_SD),
        ("a.toml", WHERE + "t5xxl = 't5.safetensors'", "t5xxl belongs to Flux, SD3 and the like" + NOT_SD),
        ("a.toml", WHERE + "network_args = ['conv_dim=8', 'factor=3', 'algo=lokr']", "network_args: algo: found "
         "'lokr', allowed: lora, locon; only a LoRA is trained here"),
        ("a.toml", WHERE + "network_args = ['dora_wd=True']", "network_args: found 'dora_wd', allowed: conv_dim"),
        ("a.toml", WHERE + "lr_scheduler = 'rex'", "lr_scheduler: found 'rex', allowed: linear, cosine"),
        ("a.toml", "[dataset_arguments]\nbatch_size = 2", "a.toml: [dataset_arguments] batch_size: unknown; did you "
         'mean "train_batch_size"?'),
        ("a.toml", "[t]\nbucket_resolution_steps = 64", 'a.toml: [t] bucket_resolution_steps: unknown; did you mean '
         '"bucket_reso_steps"?'),
        ("a.toml", "[training.optimizer]\nlearning_rate = 1", 'a.toml: [training] optimizer: unknown; did you mean '
         '"optimizer_type"?'),
        ("a.toml", '"a\\nb" = 1', "a.toml: 'a\\nb': unknown"),
        ("a.toml", "optimizer_args = { \"a\\tb\" = nan }", "optimizer_args: 'a\\tb': found nan, allowed: a number"),
        ("a.toml", "'seed ' = 1", 'a.toml: seed : unknown; did you mean "seed"?'),
        ("a.toml", 'output_dir = "D:\\Unsorted\\me"',
         "; write paths with backslashes in single quotes: 'C:\\pictures'"),
        ("a.toml", 'output_dir = "D:\\new\\train"', "output_dir: found 'D:\\new\\train', allowed: a path; write one "
         "with backslashes in single quotes"),
        ("a.toml", WHERE + "dataset_config = 'gone.toml'", '--dataset_config: no file "gone.toml"'),
        ("data.toml", "[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = '/gone'\n",
         FOLDER + 'image_dir: no folder "/gone"'),
        ("data.toml", "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'train'\nresolution = 512\n",
         FOLDER + "'resolution' does not belong here; put it in [general] or [[datasets]]"),
        ("data.toml", "[general]\nresolution = 512\n[[datasets]]\nimage_directory = 'train'\ncache_directory = 'c'\n",
         "datasets[0]: image_directory belongs to the dataset files of musubi-tuner; here each folder of pictures is a "
         "[[datasets.subsets]] with an image_dir"),
        ("data.toml", "[general]\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'train'\n",
         "datasets[0]: resolution is missing"),
        ("data.toml", "[general]\nlearning_rate = 1\n[[datasets]]\n", "general: 'learning_rate' is unknown in a "
         "dataset file; it is a flag: give it on the command line or in a --config_file"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_kindly(name: str, text: str, message: str) -> None:
    found = refused(text, name=name)

    assert message in found
    assert len(found.splitlines()) == 1


def test_a_misspelled_key_of_a_front_end_is_refused() -> None:
    assert (
        refused(f"{WHERE}noise_offset_typ = 0") == 'run.toml: noise_offset_typ: unknown; did you mean "noise_offset"?'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[training]\nresolution = '768,768'\nbatch_size = 1\n",
            'batch_size: unknown; did you mean "train_batch_size"?',
        ),
        ("lowvram = true", 'lowvram: unknown; did you mean "lowram"?'),
        (
            "token_string = 'mine'\ninit_word = 'girl'",
            "token_string belongs to textual inversion; here a style's",
        ),
        ("dit = 'z.safetensors'\nnetwork_module = 'x.lora'", f"dit belongs to Flux, SD3 and the like; {BASES}"),
        ("network_module = 'musubi_tuner.networks.lora'", f"found 'musubi_tuner.networks.lora'; {BASES}"),
        ("network_module = 'networks.lora_anima'\nqwen3 = 'q'", f"found 'networks.lora_anima'; {BASES}"),
        ("network_args = ['preset=attn-mlp', 'algo=full', 'train_norm=True']", "only a LoRA is trained here"),
        ("network_args = ['preset=full', 'conv_dim=10000', 'factor=8', 'algo=lokr']", "algo: found 'lokr'"),
        (
            "[Model]\nbase_model_path = 'x'",
            '[Model] base_model_path: unknown; did you mean "pretrained_model_name_or_path"?',
        ),
        ("num_epochs = 3", 'num_epochs: unknown; did you mean "max_train_epochs"?'),
        ("train_inpainting = true", f"train_inpainting: inpainting models are not taught here; {BASES}"),
        ("max_train_steps = 0", "max_train_steps: found 0, must be 1 or more"),
    ],
)
def test_published_files_that_cannot_be_taught_here(text: str, message: str) -> None:
    assert message in refused(WHERE + text)
