"""One table: every flag's spelling (sd-scripts' own, then ours), the field it fills, its type, help and choices.

Defaults are not here: they are those of the dataclasses in `schema.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from museum_plugin.config.checks import (
    did_you_mean,
    refuse,
    to_arguments,
    to_bool,
    to_count_or_off,
    to_float,
    to_int,
    to_name,
    to_path,
    to_positive_or_off,
    to_rate,
    to_resolution,
    to_share_or_count,
    to_text,
    to_weights,
)
from museum_plugin.config.schema import (
    BaseConfig,
    DatasetConfig,
    LossConfig,
    MethodConfig,
    NetworkConfig,
    OptimizerConfig,
    OutputConfig,
    PreviewConfig,
    ReplayConfig,
    RunConfig,
    SlotConfig,
    SubsetConfig,
    TrainingConfig,
)
from museum_plugin.errors import ConfigError

SECTIONS: dict[str, type] = {
    "base": BaseConfig,
    "dataset": DatasetConfig,
    "subset": SubsetConfig,
    "network": NetworkConfig,
    "optimizer": OptimizerConfig,
    "loss": LossConfig,
    "training": TrainingConfig,
    "preview": PreviewConfig,
    "output": OutputConfig,
    "slot": SlotConfig,
    "method": MethodConfig,
    "replay": ReplayConfig,
}
SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "warmup_stable_decay",
    "piecewise_constant",
    "adafactor",
)


@dataclass(frozen=True)
class Flag:
    """One flag of the command line, which is also one key of a config file."""

    name: str
    field: str
    """"section.field" of the RunConfig; a section alone where the flag decides how that part is built."""
    convert: Callable[[object, str], object]
    """(value, where) -> typed value; raises ConfigError."""
    help: str
    choices: tuple[str, ...] = ()
    is_input: bool = False
    """A path that is read: also looked for beside the config file that names it."""

    @property
    def section(self) -> str:
        return self.field.partition(".")[0]

    @property
    def attribute(self) -> str:
        return self.field.partition(".")[2]

    @property
    def default(self) -> object:
        """The schema's default; None where there is none."""
        for field in fields(SECTIONS[self.section]) if self.section in SECTIONS else ():
            if field.name == self.attribute and field.default is not MISSING:
                return field.default
        return None

    def read(self, value: object, where: str) -> object:
        """The typed value.

        Raises:
            ConfigError: wrong type or not one of the choices.
        """
        result = self.convert(value, where)
        if self.choices and result not in self.choices:
            near = did_you_mean(str(result), self.choices)
            refuse(where, value, ", ".join(self.choices) + near)
        return result


FLAGS: tuple[Flag, ...] = (
    Flag("pretrained_model_name_or_path", "base.path", to_path,
         "base model folder; without it the embedded pocket model is used", is_input=True),
    Flag("mixed_precision", "base.mixed_precision", to_text,
         "what the forward pass computes in; LoRA and slots stay float32", ("no", "fp16", "bf16")),
    Flag("gradient_checkpointing", "base.gradient_checkpointing", to_bool, "less memory, slower steps"),
    Flag("clip_skip", "base.clip_skip", to_int,
         "text encoder layer, counted from the last: 1 = last, 2 = the one before"),
    Flag("xformers", "base", to_bool, "accepted for sd-scripts' sake; PyTorch's SDPA is always used"),
    Flag("sdpa", "base", to_bool, "accepted for sd-scripts' sake; PyTorch's SDPA is always used"),
    Flag("config_file", "files", to_path,
         "TOML of flags; may be given several times, a later one wins, the command line wins over all"),
    Flag("dataset_config", "files", to_path,
         "dataset file (.toml or .json); its values win over the data flags", is_input=True),
    Flag("train_data_dir", "files", to_path,
         "without --dataset_config: a folder of folders named `<repeats>_<class tokens>`", is_input=True),
    Flag("resolution", "dataset.resolution", to_resolution, "pixels: 512 or 512,768 (width, height)"),
    Flag("train_batch_size", "dataset.batch_size", to_int, "pictures a step"),
    Flag("enable_bucket", "dataset.enable_bucket", to_bool, "keep aspect ratios by sorting pictures into buckets"),
    Flag("min_bucket_reso", "dataset.min_bucket_reso", to_int, "shortest bucket side, pixels"),
    Flag("max_bucket_reso", "dataset.max_bucket_reso", to_int, "longest bucket side, pixels"),
    Flag("bucket_reso_steps", "dataset.bucket_reso_steps", to_int, "bucket sides are multiples of this, pixels"),
    Flag("bucket_no_upscale", "dataset.bucket_no_upscale", to_bool, "never enlarge a picture"),
    Flag("caption_extension", "subset.caption_extension", to_text, "file extension of captions"),
    Flag("caption_separator", "subset.caption_separator", to_text, "what stands between tags"),
    Flag("caption_prefix", "subset.caption_prefix", to_text, "text put before every caption"),
    Flag("caption_suffix", "subset.caption_suffix", to_text, "text put after every caption"),
    Flag("shuffle_caption", "subset.shuffle_caption", to_bool, "shuffle tags at every access"),
    Flag("keep_tokens", "subset.keep_tokens", to_int, "number of leading tags that are never shuffled or dropped"),
    Flag("caption_dropout_rate", "subset.caption_dropout_rate", to_float,
         "share of steps with an empty caption, 0 to 1"),
    Flag("caption_tag_dropout_rate", "subset.caption_tag_dropout_rate", to_float, "share of tags left out, 0 to 1"),
    Flag("flip_aug", "subset.flip_aug", to_bool, "mirror pictures at random"),
    Flag("random_crop", "subset.random_crop", to_bool, "crop at random instead of at the centre"),
    Flag("color_aug", "subset.color_aug", to_bool, "vary colours a little"),
    Flag("network_module", "network", to_text, "accepted for sd-scripts' sake; networks.lora is what is trained"),
    Flag("network_dim", "network.rank", to_int, "rank of the LoRA"),
    Flag("network_alpha", "network.alpha", to_float, "scale = alpha / rank; without it alpha equals network_dim"),
    Flag("network_train_unet_only", "network", to_bool, "leave the text encoder alone, whatever text_encoder_lr says"),
    Flag("network_train_text_encoder_only", "network", to_bool, "leave the U-Net alone; needs text_encoder_lr"),
    Flag("optimizer_type", "optimizer.name", to_name, "optimizer by name"),
    Flag("optimizer_args", "optimizer.arguments", to_arguments, "arguments of the optimizer, each as name=value"),
    Flag("learning_rate", "optimizer.unet_learning_rate", to_float,
         "learning rate of the U-Net LoRA where unet_lr is not given"),
    Flag("unet_lr", "optimizer.unet_learning_rate", to_float,
         "learning rate of the U-Net LoRA; 0 leaves the U-Net alone"),
    Flag("text_encoder_lr", "optimizer.text_encoder_learning_rate", to_rate,
         "learning rate of the text encoder LoRA, which is trained only when this is given and greater "
         "than 0 (it does not fall back to learning_rate): a frozen text encoder protects old prompts"),
    Flag("lr_scheduler", "optimizer.schedule", to_text, "how the learning rate moves", SCHEDULES),
    Flag("lr_warmup_steps", "optimizer.warmup_steps", to_share_or_count,
         "optimizer steps; below 1, or as 10%, a share of max_train_steps"),
    Flag("max_grad_norm", "optimizer.max_grad_norm", to_float,
         "gradients are clipped to this total norm; 0 does not clip"),
    Flag("min_snr_gamma", "loss.min_snr_gamma", to_positive_or_off,
         "min-SNR loss weighting (5 is usual); 0 or nothing: off"),
    Flag("noise_offset", "loss.noise_offset", to_positive_or_off,
         "strength of noise offset (0.05 is usual); 0 or nothing: off"),
    Flag("max_train_steps", "training.steps", to_int, "optimizer steps for each style"),
    Flag("gradient_accumulation_steps", "training.gradient_accumulation_steps", to_int,
         "micro-steps in an optimizer step"),
    Flag("seed", "training.seed", to_int, "seed of every random number"),
    Flag("cache_latents", "training.cache_latents", to_bool,
         "encode every picture once and keep its latents in memory"),
    Flag("cache_latents_to_disk", "training.cache_latents_to_disk", to_bool,
         "keep latents in files, in output_dir/latents"),
    Flag("vae_batch_size", "training.vae_batch_size", to_int, "pictures encoded at once when caching"),
    Flag("sample_prompts", "preview.prompts", to_path,
         "text file, one preview prompt a line; {style} stands for the style's phrase", is_input=True),
    Flag("sample_every_n_steps", "preview.every_n_steps", to_count_or_off,
         "optimizer steps between previews; 0 or nothing: none"),
    Flag("sample_guidance", "preview.guidance", to_float, "classifier-free guidance scale of previews and verdicts"),
    Flag("sample_steps", "preview.sampling_steps", to_int, "denoising steps of previews and verdicts"),
    Flag("output_dir", "output.output_dir", to_path, "folder of results (default: output)"),
    Flag("output_name", "output.output_name", to_name,
         "file name of results without extension (default: the museum's own, else last)"),
    Flag("save_every_n_steps", "output.save_every_n_steps", to_count_or_off,
         "optimizer steps between checkpoints; 0 or nothing: none"),
    Flag("logging_dir", "output.logging_dir", to_path, "folder of logs"),
    Flag("log_with", "output.log_with", to_text,
         "which logs are written; needs logging_dir", ("tensorboard", "wandb", "all")),
    Flag("museum", "output.museum", to_path,
         "the museum file that grows; without it a plain LoRA is trained", is_input=True),
    Flag("keep_history", "output.keep_history", to_int, "how many earlier versions of the museum file are kept"),
    Flag("style", "style.name", to_name,
         "name of the style to teach, or which one of a dataset file that names several; default: the "
         "dataset file's name"),
    Flag("trigger", "style.trigger", to_name,
         "the word(s) a user types for the style; auto (default with a museum): the next free slot word"),
    Flag("slot_vectors", "slot.vectors", to_int, "embeddings, and slot words, a style gets"),
    Flag("slot_init", "slot.init", to_name, "what the slot starts from: an ordinary word, or own: its own direction"),
    Flag("slot_lr", "slot.learning_rate", to_float, "learning rate of the slot; 0 keeps it at its start"),
    Flag("method", "method.name", to_name, "how old styles are kept: a method by name"),
    Flag("term_weights", "method.weights", to_weights,
         "weights of the method's terms, each as name=number (in TOML also a table); 0 switches a term off"),
    Flag("replay_per_style", "replay.per_style", to_int, "latents drawn for each old style"),
    Flag("replay_neutral", "replay.neutral", to_int, "latents drawn without any trigger"),
    Flag("replay_batch_size", "replay.batch_size", to_int, "latents of the bank in every step"),
    Flag("replay_sampling_steps", "replay.sampling_steps", to_int, "denoising steps for each latent of the bank"),
    Flag("replay_guidance", "replay.guidance", to_float, "classifier-free guidance scale of the bank"),
)  # fmt: skip
BY_NAME: dict[str, Flag] = {flag.name: flag for flag in FLAGS}

NOT_HONOURED: dict[str, dict[str, object]] = json.loads(
    Path(__file__).with_name("sd_scripts_flags.json").read_text(encoding="utf-8")
)
"""sd-scripts' flags that are accepted and listed as not honoured yet: name -> {"type", "default"}."""

FRONT_END_KEYS = (
    "epoch",
    "noise_offset_type",
    "stop_text_encoder_training",
    "train_inpainting",
    "lr_restart_cycles",
    "sdxl",
    "network_train_text_encoder",
)
"""Keys that training front ends write into config files and sd-scripts itself does not know."""
TABLES = ("term_weights", "optimizer_args")
"""Keys whose table is a value, not a section."""


def asks_for_nothing(name: str, value: object) -> bool:
    """Whether a key we do not honour changes nothing: false, empty, or sd-scripts' own default."""
    default = NOT_HONOURED[name]["default"]
    if value is None or value is False or value in ("", [], default):
        return True
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value).lower() in ("false", str(default).lower())
    return False


def unknown(name: str, where: str) -> ConfigError:
    """The error for a key or flag nobody knows, with the nearest that somebody does."""
    known = [*BY_NAME, *NOT_HONOURED]
    return ConfigError(f"{where}: unknown{did_you_mean(name.lower().replace('-', '_'), known)}")


def describe(config: RunConfig) -> dict[str, object]:
    """The run as JSON-able values by flag name, for the ledger and the metadata.

    A data flag that differs between the datasets of the run is a list of its values; flags that only name files to
    read (--config_file, --dataset_config, --train_data_dir) are not in a RunConfig.
    """
    datasets = [dataset for style in config.styles for dataset in style.datasets]
    parts: dict[str, Sequence[object]] = {
        "dataset": datasets,
        "subset": [subset for dataset in datasets for subset in dataset.subsets],
        "style": config.styles,
    }
    described: dict[str, object] = {}
    for flag in (flag for flag in FLAGS if flag.attribute):
        owners = parts.get(flag.section) or [getattr(config, flag.section)]
        values = [_plain(getattr(owner, flag.attribute), flag) for owner in owners]
        distinct = [value for i, value in enumerate(values) if value not in values[:i]]
        described[flag.name] = distinct[0] if len(distinct) == 1 else distinct
    described["network_train_unet_only"] = not config.network.train_text_encoder
    described["network_train_text_encoder_only"] = not config.network.train_unet
    return described


def _plain(value: Any, flag: Flag) -> object:
    if flag.name == "resolution":
        return ",".join(str(side) for side in value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(item, flag) for name, item in value.items()}
    return [_plain(item, flag) for item in value] if isinstance(value, (list, tuple)) else value
