"""Pictures, captions and the styles they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from museum_plugin.config.refusal import did_you_mean, refusal
from museum_plugin.config.schema.require import require

RESERVED_STYLE_NAMES = ("base", "no trigger")
"""What the grid calls the columns that show no style."""
VARIED = ("random_crop", "color_aug", "face_crop_aug_range")
"""Settings of a subset whose pictures differ in every step, so that their latents cannot be kept."""
RESIZE_INTERPOLATIONS = ("lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area", "box")
"""What `resize_interpolation` may be; sd-scripts' names."""


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
    keep_tokens_separator: str | None = None
    """Tags before the first and after the second one stay in place; where it stands, `keep_tokens` does not count."""
    caption_separator: str = ","
    secondary_separator: str | None = None
    """Joins tags that stay together; becomes `caption_separator` in the end."""
    enable_wildcard: bool = False
    """A random line of a caption of several lines; one of `{a|b}`."""
    token_warmup_min: int = 1
    """Tags that are shown in the first step."""
    token_warmup_step: float = 0.0
    """Optimizer steps until all tags are shown; below 1 a share of all steps."""
    caption_dropout_rate: float = 0.0
    """Share of steps in which the caption is empty, 0..1."""
    caption_dropout_every_n_epochs: int = 0
    """Captions are empty in every n-th epoch, counted from 1; 0: in none."""
    caption_tag_dropout_rate: float = 0.0
    flip_aug: bool = False
    random_crop: bool = False
    color_aug: bool = False
    is_reg: bool = False
    """Prior preservation pictures."""
    metadata_file: Path | None = None
    """.json or .jsonl: which pictures of the folder, or of others, with captions and tags; None: all of the folder."""
    resize_interpolation: str | None = None
    """How pictures are resized, one of RESIZE_INTERPOLATIONS; None: area if both sides shrink, else lanczos."""
    face_crop_aug_range: tuple[float, float] | None = None
    """Shorter side of the crop in face sizes, from and to; the face's place stands in the file name."""
    alpha_mask: bool = False
    """The alpha channel weighs the loss of each place."""
    conditioning_data_dir: Path | None = None
    """Folder of masks with the pictures' names; their red channel weighs the loss of each place."""

    def __post_init__(self) -> None:
        require(self.num_repeats >= 1, f"num_repeats: found {self.num_repeats}, must be 1 or more")
        require(
            not (self.is_reg and self.metadata_file),
            "is_reg: cannot go with metadata_file; regularisation pictures are those of a folder",
        )
        require(self.keep_tokens >= 0, f"keep_tokens: found {self.keep_tokens}, must be 0 or more")
        require(self.caption_separator != "", 'caption_separator: found "", must be at least one character')
        for name in ("caption_dropout_rate", "caption_tag_dropout_rate"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name}: found {value}, must lie between 0 and 1")
        for name in ("token_warmup_min", "token_warmup_step", "caption_dropout_every_n_epochs"):
            require(getattr(self, name) >= 0, f"{name}: found {getattr(self, name)}, must be 0 or more")
        self._check_pictures()

    def _check_pictures(self) -> None:
        way, faces = self.resize_interpolation, self.face_crop_aug_range
        if way is not None and way not in RESIZE_INTERPOLATIONS:
            near = did_you_mean(way, RESIZE_INTERPOLATIONS)
            raise refusal("resize_interpolation", way, ", ".join(RESIZE_INTERPOLATIONS) + near)
        require(
            faces is None or 0 < faces[0] <= faces[1],
            f"face_crop_aug_range: found {faces}, must be two numbers above 0, the smaller one first",
        )
        require(
            not (self.alpha_mask and self.conditioning_data_dir),
            f"alpha_mask: cannot go with conditioning_data_dir ({self.conditioning_data_dir}); keep one of them",
        )


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
    skip_image_resolution: tuple[int, int] | None = None
    """Pictures of no more pixels than (width, height) are left out."""
    validation_split: float = 0.0
    """Share of the pictures that is never trained on, 0 or more and below 1."""
    validation_seed: int | None = None
    """Decides which pictures that are; None is 0."""

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
        skipped = self.skip_image_resolution
        require(skipped is None or min(skipped) >= 1, f"skip_image_resolution: found {skipped}, must be 1 or more")
        require(
            0 <= self.validation_split < 1,
            f"validation_split: found {self.validation_split}, must be 0 or more and below 1",
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
