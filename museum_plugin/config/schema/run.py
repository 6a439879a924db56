"""Everything a run is told."""

from __future__ import annotations

from dataclasses import dataclass

from museum_plugin.config.schema.base import BaseConfig
from museum_plugin.config.schema.data import VARIED, StyleData
from museum_plugin.config.schema.gate import GateConfig
from museum_plugin.config.schema.log import LogConfig, MetadataConfig
from museum_plugin.config.schema.loss import LossConfig
from museum_plugin.config.schema.method import MethodConfig, ReplayConfig
from museum_plugin.config.schema.network import NetworkConfig, SlotConfig
from museum_plugin.config.schema.optimizer import OptimizerConfig
from museum_plugin.config.schema.output import OutputConfig, PreviewConfig
from museum_plugin.config.schema.require import require
from museum_plugin.config.schema.training import TrainingConfig


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
    log: LogConfig = LogConfig()
    metadata: MetadataConfig = MetadataConfig()
    gate: GateConfig = GateConfig()

    def __post_init__(self) -> None:
        require(
            self.gate.judge_every is None or self.output.museum is not None,
            f"judge_every: found {self.gate.judge_every} without museum; a plain LoRA is not judged; leave it out",
        )
        drawn = self.network
        require(
            not self.base.torch_compile
            or not (drawn.dropout or drawn.arguments.rank_dropout or drawn.arguments.module_dropout),
            "torch_compile: cannot go with network_dropout, rank_dropout or module_dropout: what is left out is drawn "
            "in each step, and each step would be compiled anew; leave one of them out",
        )
        cached = self.training.cache_latents or self.training.cache_latents_to_disk
        for style in self.styles:
            for subset in (subset for dataset in style.datasets for subset in dataset.subsets):
                masks = subset.conditioning_data_dir
                require(
                    masks is None or self.loss.masked_loss,
                    f"conditioning_data_dir ({masks}): its masks are used with --masked_loss only; give it too",
                )
                for name in VARIED:
                    require(
                        not (cached and getattr(subset, name)),
                        f"{name} ({subset.image_dir}): cannot be used with cache_latents, since such pictures differ "
                        "in every step; turn one of them off",
                    )
