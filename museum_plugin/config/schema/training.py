"""How long, how fast, from which seed."""

from __future__ import annotations

from dataclasses import dataclass

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast, from which seed."""

    steps: int = 1600
    """Optimizer steps for each style."""
    epochs: int | None = None
    """Epochs of each style's own pictures; takes the place of `steps`."""
    gradient_accumulation_steps: int = 1
    seed: int = 0
    cache_latents: bool = False
    cache_latents_to_disk: bool = False
    vae_batch_size: int = 1
    reader_threads: int = 2
    """How many batches are opened ahead, each in a thread of its own; 0: none."""
    validate_every_n_steps: int | None = None
    """Optimizer steps between validation losses; None: see validate_every_n_epochs."""
    validate_every_n_epochs: int | None = None
    """Epochs between validation losses; None: 1, or none where validate_every_n_steps is given."""
    max_validation_steps: int | None = None
    """Batches of a validation loss; None: all that are held out."""
    fit: bool = False
    """Whether a run whose memory runs out goes on with what needs less and gives the same result."""
    skip_nonfinite: int = 0
    """So many steps in a row may be left out because their numbers are not finite."""

    def __post_init__(self) -> None:
        least = 1 if self.epochs is None else 0  # front ends write 0 where epochs are counted
        require(self.steps >= least, f"max_train_steps: found {self.steps}, must be {least} or more")
        require(self.epochs is None or self.epochs >= 1, f"max_train_epochs: found {self.epochs}, must be 1 or more")
        require(
            self.gradient_accumulation_steps >= 1,
            f"gradient_accumulation_steps: found {self.gradient_accumulation_steps}, must be 1 or more",
        )
        require(self.vae_batch_size >= 1, f"vae_batch_size: found {self.vae_batch_size}, must be 1 or more")
        for name in ("validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}: found {value}, must be 1 or more")
        require(
            0 <= self.reader_threads <= 64,
            f"max_data_loader_n_workers: found {self.reader_threads}, must lie between 0 and 64",
        )
        require(0 <= self.seed < 2**63, f"seed: found {self.seed}, must lie between 0 and 2^63")
        require(self.skip_nonfinite >= 0, f"skip_nonfinite: found {self.skip_nonfinite}, must be 0 or more")
