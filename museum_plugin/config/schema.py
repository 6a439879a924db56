"""The typed configuration of a run. Names are ours; sd-scripts' spelling lives in `flags.py` and `dataset_toml.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from museum_plugin.errors import ConfigError

RESERVED_STYLE_NAMES = ("base", "no trigger")
"""What the grid calls the columns that show no style."""


def require(condition: bool, message: str) -> None:
    """Refuse an impossible value.

    Raises:
        ConfigError: with the message.
    """
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class BaseConfig:
    """The frozen model that is taught."""

    path: Path
    """A diffusers folder."""
    mixed_precision: str = "no"
    """no | fp16 | bf16: what the forward pass computes in; LoRA and slots stay float32."""
    gradient_checkpointing: bool = False
    clip_skip: int = 1
    """1 = the text encoder's last layer, 2 = the one before."""

    def __post_init__(self) -> None:
        require(
            self.mixed_precision in ("no", "fp16", "bf16"),
            f"mixed_precision: found {self.mixed_precision!r}, allowed: no, fp16, bf16",
        )
        require(self.clip_skip >= 1, f"clip_skip: found {self.clip_skip}, must be 1 or more")


@dataclass(frozen=True)
class SubsetConfig:
    """One folder of pictures (`[[datasets.subsets]]`)."""

    image_dir: Path
    num_repeats: int = 1
    """How often each picture counts in an epoch."""
    caption_extension: str = ".caption"
    class_tokens: str | None = None
    """The caption of a picture that has no caption file."""
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    shuffle_caption: bool = False
    keep_tokens: int = 0
    """How many leading tags stay in place when captions are shuffled."""
    caption_separator: str = ","
    caption_dropout_rate: float = 0.0
    """Share of steps in which the caption is empty, 0..1."""
    caption_tag_dropout_rate: float = 0.0
    flip_aug: bool = False
    random_crop: bool = False
    color_aug: bool = False
    is_reg: bool = False
    """Prior preservation pictures."""

    def __post_init__(self) -> None:
        require(self.num_repeats >= 1, f"num_repeats: found {self.num_repeats}, must be 1 or more")
        require(self.keep_tokens >= 0, f"keep_tokens: found {self.keep_tokens}, must be 0 or more")
        require(self.caption_separator != "", 'caption_separator: found "", must be at least one character')
        for name in ("caption_dropout_rate", "caption_tag_dropout_rate"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name}: found {value}, must lie between 0 and 1")


@dataclass(frozen=True)
class DatasetConfig:
    """Folders that share resolution, buckets and batch size (`[[datasets]]`)."""

    subsets: tuple[SubsetConfig, ...]
    resolution: tuple[int, int]
    """(width, height) in pixels."""
    batch_size: int = 1
    enable_bucket: bool = False
    min_bucket_reso: int = 256
    max_bucket_reso: int = 1024
    bucket_reso_steps: int = 64
    """Pixels; a multiple of 8."""
    bucket_no_upscale: bool = False

    def __post_init__(self) -> None:
        require(len(self.subsets) >= 1, "datasets: a dataset needs at least one [[datasets.subsets]] with an image_dir")
        require(min(self.resolution) >= 8, f"resolution: found {self.resolution}, must be at least 8 pixels")
        require(self.batch_size >= 1, f"batch_size: found {self.batch_size}, must be 1 or more")
        require(
            self.bucket_reso_steps >= 8 and self.bucket_reso_steps % 8 == 0,
            f"bucket_reso_steps: found {self.bucket_reso_steps}, must be a multiple of 8",
        )
        require(
            1 <= self.min_bucket_reso <= self.max_bucket_reso,
            f"min_bucket_reso: found {self.min_bucket_reso}, must lie between 1 and max_bucket_reso "
            f"({self.max_bucket_reso})",
        )


@dataclass(frozen=True)
class StyleData:
    """One style to teach: its name, trigger, and where its pictures are."""

    name: str | None
    """None: a plain LoRA without museum."""
    trigger: str | None
    """The word(s) the user types; "auto" takes the next free slot word; None without a museum."""
    datasets: tuple[DatasetConfig, ...]

    def __post_init__(self) -> None:
        if self.name is not None:
            require(
                re.fullmatch(r"\w[\w .+-]{0,62}", self.name) is not None,
                f"style: found {self.name!r}; a name has up to 63 letters, digits, spaces and _ . + - (it names files)",
            )
            require(
                self.name not in RESERVED_STYLE_NAMES,
                f"style: {self.name!r} is the name of a column of the picture grid; choose another name",
            )


@dataclass(frozen=True)
class NetworkConfig:
    """The shared LoRA."""

    rank: int = 16
    alpha: float = 16.0
    """scale = alpha / rank."""
    train_unet: bool = True
    train_text_encoder: bool = False

    def __post_init__(self) -> None:
        require(self.rank >= 1, f"network_dim: found {self.rank}, must be 1 or more")
        require(self.alpha > 0, f"network_alpha: found {self.alpha}, must be greater than 0")
        require(self.train_unet or self.train_text_encoder, "nothing to train: both U-Net and text encoder are off")


@dataclass(frozen=True)
class SlotConfig:
    """The token slot that a style opens."""

    vectors: int = 1
    """How many embeddings (and slot words) a style gets."""
    init: str = "own"
    """What the slot starts from: "own", the slot word's own direction; or an ordinary word."""
    learning_rate: float = 5e-3
    """0 keeps the slot at its start."""

    def __post_init__(self) -> None:
        require(1 <= self.vectors <= 16, f"slot_vectors: found {self.vectors}, allowed: 1 to 16")
        require(self.learning_rate >= 0, f"slot_lr: found {self.learning_rate}, must be 0 or more")


@dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move."""

    name: str = "AdamW"
    arguments: dict[str, object] = field(default_factory=dict)
    unet_learning_rate: float = 1e-4
    text_encoder_learning_rate: float = 0.0
    schedule: str = "cosine"
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    """Gradients are clipped to this total norm; 0 does not clip."""

    def __post_init__(self) -> None:
        for name, value in (
            ("unet_lr", self.unet_learning_rate),
            ("text_encoder_lr", self.text_encoder_learning_rate),
            ("max_grad_norm", self.max_grad_norm),
            ("lr_warmup_steps", self.warmup_steps),
        ):
            require(value >= 0, f"{name}: found {value}, must be 0 or more")


@dataclass(frozen=True)
class LossConfig:
    """The denoising loss."""

    min_snr_gamma: float | None = None
    noise_offset: float | None = None

    def __post_init__(self) -> None:
        require(
            self.min_snr_gamma is None or self.min_snr_gamma > 0,
            f"min_snr_gamma: found {self.min_snr_gamma}, must be greater than 0",
        )


@dataclass(frozen=True)
class MethodConfig:
    """How old styles are kept: a method by name, and the weight of each of its terms."""

    name: str = "museum"
    weights: dict[str, float] = field(default_factory=dict)
    """Term name -> weight, over the method's own defaults; 0 switches a term off."""


@dataclass(frozen=True)
class ReplayConfig:
    """The bank of latents sampled from the previous museum (self-replay)."""

    per_style: int = 32
    """Latents drawn for each old style."""
    neutral: int = 32
    """Latents drawn without any trigger."""
    batch_size: int = 4
    """Latents of the bank in every step."""
    sampling_steps: int = 20
    guidance: float = 4.0

    def __post_init__(self) -> None:
        for name in ("per_style", "neutral"):
            require(getattr(self, name) >= 0, f"replay_{name}: found {getattr(self, name)}, must be 0 or more")
        require(self.batch_size >= 1, f"replay_batch_size: found {self.batch_size}, must be 1 or more")
        require(self.sampling_steps >= 1, f"replay_sampling_steps: found {self.sampling_steps}, must be 1 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast, from which seed."""

    steps: int = 1600
    """Optimizer steps for each style."""
    gradient_accumulation_steps: int = 1
    seed: int = 0
    cache_latents: bool = False
    cache_latents_to_disk: bool = False
    vae_batch_size: int = 1

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"max_train_steps: found {self.steps}, must be 1 or more")
        require(
            self.gradient_accumulation_steps >= 1,
            f"gradient_accumulation_steps: found {self.gradient_accumulation_steps}, must be 1 or more",
        )
        require(self.vae_batch_size >= 1, f"vae_batch_size: found {self.vae_batch_size}, must be 1 or more")
        require(0 <= self.seed < 2**63, f"seed: found {self.seed}, must lie between 0 and 2^63")


@dataclass(frozen=True)
class PreviewConfig:
    """Pictures made while training and for judging."""

    prompts: tuple[str, ...] = ()
    """Without trigger; where "{style}" stands it is replaced by the style's phrase, else the phrase is appended."""
    every_n_steps: int | None = None
    width: int | None = None
    """Pixels; None: the style's resolution."""
    height: int | None = None
    sampling_steps: int = 20
    guidance: float = 4.0

    def __post_init__(self) -> None:
        require(self.sampling_steps >= 1, f"sample_steps: found {self.sampling_steps}, must be 1 or more")


@dataclass(frozen=True)
class OutputConfig:
    """Where results go."""

    output_dir: Path
    output_name: str
    museum: Path | None = None
    """The museum file that grows; None: a plain LoRA is written to output_dir."""
    keep_history: int = 5
    """How many earlier versions of the museum file are kept."""
    save_every_n_steps: int | None = None
    logging_dir: Path | None = None
    log_with: str | None = None
    """tensorboard | wandb | all."""

    def __post_init__(self) -> None:
        require(self.keep_history >= 0, f"keep_history: found {self.keep_history}, must be 0 or more")
        require(
            self.log_with in (None, "tensorboard", "wandb", "all"),
            f"log_with: found {self.log_with!r}, allowed: tensorboard, wandb, all",
        )


@dataclass(frozen=True)
class RunConfig:
    """Everything a run is told."""

    base: BaseConfig
    styles: tuple[StyleData, ...]
    """In the order in which they are taught."""
    network: NetworkConfig
    slot: SlotConfig
    optimizer: OptimizerConfig
    loss: LossConfig
    method: MethodConfig
    replay: ReplayConfig
    training: TrainingConfig
    preview: PreviewConfig
    output: OutputConfig

    def __post_init__(self) -> None:
        cached = self.training.cache_latents or self.training.cache_latents_to_disk
        for style in self.styles:
            for subset in (subset for dataset in style.datasets for subset in dataset.subsets):
                for name in ("random_crop", "color_aug"):
                    require(
                        not (cached and getattr(subset, name)),
                        f"{name} ({subset.image_dir}): cannot be used with cache_latents, since such pictures differ "
                        "in every step; turn one of them off",
                    )
