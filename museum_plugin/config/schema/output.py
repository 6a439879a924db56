"""What is shown while training, and where results go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from museum_plugin.config.refusal import did_you_mean
from museum_plugin.config.schema.require import require

SAMPLERS = (
    *("ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++", "dpmsingle"),
    *("k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a"),
)
"""sd-scripts' names."""
EXPORTS = ("webui", "comfyui", "a1111", "sdnext", "forge", "invoke", "diffusers", "plain", "sidecars")
"""What a museum can be published for."""


@dataclass(frozen=True)
class PromptOptions:
    """What a preview prompt has of its own; None: as for all."""

    negative: str = ""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    sampler: str | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height", "steps"):
            found = getattr(self, name)
            require(found is None or found >= 1, f"{name}: found {found}, must be 1 or more")
        require(self.seed is None or 0 <= self.seed < 2**63, f"seed: found {self.seed}, must lie between 0 and 2^63")


@dataclass(frozen=True)
class PreviewConfig:
    """Pictures made while training and for judging."""

    prompts: tuple[str, ...] = ()
    """Without trigger; where "{style}" stands it is replaced by the style's phrase, else the phrase is appended."""
    options: tuple[PromptOptions, ...] = ()
    """Of each prompt; none where no prompt has any."""
    sampler: str = "ddim"
    """One of `SAMPLERS`; verdicts are always drawn with our own DDIM."""
    every_n_steps: int | None = None
    every_n_epochs: int | None = None
    """Takes the place of `every_n_steps`."""
    at_first: bool = False
    """Also before the first step."""
    width: int | None = None
    """Pixels; None: the style's resolution."""
    height: int | None = None
    sampling_steps: int = 20
    guidance: float = 4.0

    def __post_init__(self) -> None:
        require(len(self.options) in (0, len(self.prompts)), "sample_prompts: not one set of options for each prompt")
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
    save_every_n_epochs: int | None = None
    save_n_epoch_ratio: int | None = None
    """At least so many files of epochs in a run; takes the place of `save_every_n_epochs`."""
    save_last_n_steps: int | None = None
    """Files of steps longer ago than this are removed."""
    save_last_n_epochs: int | None = None
    """So many files of epochs stay."""
    save_last_n_steps_state: int | None = None
    """The same for states; None: as for the files."""
    save_last_n_epochs_state: int | None = None
    save_state: bool = False
    """A state beside each file in between, and one at the end."""
    save_state_on_train_end: bool = False
    resume: Path | None = None
    """The state to go on from."""
    logging_dir: Path | None = None
    log_with: str | None = None
    """tensorboard | wandb | all."""
    export_for: tuple[str, ...] = ("sidecars",)
    """What the museum is published for at the end of a run, of `EXPORTS`; () for nothing."""

    def __post_init__(self) -> None:
        require(self.keep_history >= 0, f"keep_history: found {self.keep_history}, must be 0 or more")
        require(
            self.log_with in (None, "tensorboard", "wandb", "all"),
            f"log_with: found {self.log_with!r}, allowed: tensorboard, wandb, all",
        )
        for name in self.export_for:
            near = did_you_mean(name, EXPORTS)
            require(name in EXPORTS, f"export_for: found {name!r}, allowed: none, all, {', '.join(EXPORTS)}{near}")
