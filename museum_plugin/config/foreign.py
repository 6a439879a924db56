"""Files that are no sd-scripts config: presets of front ends, other trainers' configs, runs of other kinds of base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from museum_plugin.config.network_arguments import names_other_base
from museum_plugin.config.refusal import TAUGHT_BASES, shown
from museum_plugin.errors import ConfigError

_KOHYA_SS = {
    "LoRA_type",
    "LyCORIS_preset",
    "additional_parameters",
    "config_dir",
    "images_folder",
    "instance_prompt",
    "lora_network_weights",
    "max_resolution",
    "model_list",
    "models_dir",
    "state_dir",
    "use_shell",
    "vae_dir",
}
"""Keys of the kohya_ss GUI's own presets and settings; it never sends them to sd-scripts."""
_ONE_TRAINER = {"training_method", "concept_file_name", "concepts", "base_model_name", "model_type", "output_dtype"}
_EASY_TRAINING = {"general_args", "network_args", "optimizer_args", "saving_args"}
"""Tables of LoRA_Easy_Training_Scripts, each with a table `args`."""
_TEXTUAL_INVERSION = ("token_string", "init_word", "num_vectors_per_token")
_MODELS_OF_OTHER_BASES = ("t5xxl", "clip_l", "gemma2", "qwen3", "dit")


_MUSUBI_TUNER = ("image_directory", "video_directory", "image_jsonl_file", "video_jsonl_file")
"""Keys of the [[datasets]] of musubi-tuner, which has no [[datasets.subsets]]."""


def flattened(table: Mapping[str, object]) -> dict[str, object]:
    """The keys of a file without its sections, as sd-scripts takes them."""
    flat: dict[str, object] = {}
    for name, value in table.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat


def refuse_foreign(path: Path, table: Mapping[str, object]) -> None:
    """Say what a file is that was given as a config file and is none.

    Raises:
        ConfigError: it is a preset of a front end, another trainer's config, or for a base that is not taught here.
    """
    flat = flattened(table)
    if isinstance(table.get("datasets"), (dict, list)):
        raise ConfigError(f"{path}: datasets: this is a dataset file; give it with --dataset_config")
    own = sorted(_KOHYA_SS & flat.keys())
    if len(own) > 1:
        raise ConfigError(
            f"{path}: this is a preset of the kohya_ss GUI ({', '.join(own[:3])}), no file of flags; load it in the "
            "GUI and give the .toml file that the GUI writes when it trains"
        )
    if len(_ONE_TRAINER & flat.keys()) > 2:
        raise ConfigError(f"{path}: this is a config of OneTrainer; write the settings as a TOML file of flags")
    tables = [table[name] for name in _EASY_TRAINING & table.keys()]
    if any(isinstance(inner, dict) and "args" in inner for inner in tables):
        raise ConfigError(
            f"{path}: this is a file of LoRA_Easy_Training_Scripts; write the keys of its tables `args` as one TOML "
            "file and those of [[subsets]] as a dataset file"
        )
    for name in _TEXTUAL_INVERSION:
        if flat.get(name):
            raise ConfigError(
                f"{path}: {name} belongs to textual inversion; here a style's words are learned beside its LoRA: name "
                "them with trigger in the dataset file, or with --trigger"
            )
    if flat.get("train_inpainting") in (True, 1, "true", "True"):
        raise ConfigError(f"{path}: train_inpainting: inpainting models are not taught here; {TAUGHT_BASES}")
    _refuse_other_base(path, flat)


def refuse_foreign_dataset(where: str, table: Mapping[str, object]) -> None:
    """Say what a table [[datasets]] is that sd-scripts does not know.

    Raises:
        ConfigError: it is one of musubi-tuner.
    """
    for name in _MUSUBI_TUNER:
        if name in table:
            raise ConfigError(
                f"{where}: {name} belongs to the dataset files of musubi-tuner; here each folder of pictures is a "
                "[[datasets.subsets]] with an image_dir"
            )


def _refuse_other_base(path: Path, flat: Mapping[str, object]) -> None:
    """Refuse a run for Flux, SD3 and the like; keys that an SD run has left over from one are not enough."""
    for name in ("model_train_type", "network_module"):
        if names_other_base(str(flat.get(name, ""))):
            raise ConfigError(f"{path}: {name}: found {shown(flat[name])}; {TAUGHT_BASES}")
    if str(flat.get("model_train_type", "")).lower().startswith(("sd-", "sdxl-")):
        return
    for name in _MODELS_OF_OTHER_BASES:
        if flat.get(name):
            raise ConfigError(f"{path}: {name} belongs to Flux, SD3 and the like; {TAUGHT_BASES}")
