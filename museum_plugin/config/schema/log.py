"""What a run says, and where it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class LogConfig:
    """What a run says, and where it is written down."""

    prefix: str | None = None
    """The logs go to a folder of their own in logging_dir: prefix and time."""
    tracker_name: str | None = None
    """None: as the results are called."""
    tracker_config: Path | None = None
    """TOML file: what each kind of log is told besides, a table each."""
    with_settings: bool = False
    """The settings of the run, without paths, are logged too."""
    wandb_run_name: str | None = None
    wandb_api_key: str | None = field(default=None, repr=False)
    """Written nowhere."""
    console_level: str = "INFO"
    console_file: Path | None = None
    """Messages go into this file instead."""


@dataclass(frozen=True)
class MetadataConfig:
    """What is written into the header of the file."""

    title: str | None = None
    author: str | None = None
    description: str | None = None
    license: str | None = None
    tags: str | None = None
    usage_hint: str | None = None
    """None: the triggers of all styles."""
    thumbnail: Path | str | None = None
    """A picture, or a data URL that holds one."""
    merged_from: str | None = None
    trigger_phrase: str | None = None
    """None: that of the newest style."""
    preprocessor: str | None = None
    is_negative_embedding: str | None = None
    comment: str | None = None
    no_metadata: bool = False
    """Files for publishing carry no ledger and no strings of the user's own."""
    precision: str = "float"
    """Of files for publishing: float | fp16 | bf16."""

    def __post_init__(self) -> None:
        require(
            self.precision in ("float", "fp16", "bf16"),
            f"save_precision: found {self.precision!r}, allowed: float, fp16, bf16",
        )
