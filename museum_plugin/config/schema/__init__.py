"""The typed configuration of a run: one file a topic, everything importable from here.

Names are ours; sd-scripts' spelling lives in `flags` and `dataset_toml`.
"""

from museum_plugin.config.schema.base import TOKEN_LENGTHS, BaseConfig
from museum_plugin.config.schema.data import RESERVED_STYLE_NAMES, DatasetConfig, StyleData, SubsetConfig
from museum_plugin.config.schema.gate import GateConfig
from museum_plugin.config.schema.log import LogConfig, MetadataConfig
from museum_plugin.config.schema.loss import LossConfig
from museum_plugin.config.schema.method import MethodConfig, ReplayConfig
from museum_plugin.config.schema.network import NetworkConfig, SlotConfig
from museum_plugin.config.schema.network_arguments import NetworkArguments
from museum_plugin.config.schema.optimizer import OptimizerConfig
from museum_plugin.config.schema.output import EXPORTS, SAMPLERS, OutputConfig, PreviewConfig, PromptOptions
from museum_plugin.config.schema.require import require
from museum_plugin.config.schema.run import RunConfig
from museum_plugin.config.schema.training import TrainingConfig

__all__ = [
    "EXPORTS",
    "RESERVED_STYLE_NAMES",
    "SAMPLERS",
    "TOKEN_LENGTHS",
    "BaseConfig",
    "DatasetConfig",
    "GateConfig",
    "LogConfig",
    "LossConfig",
    "MetadataConfig",
    "MethodConfig",
    "NetworkArguments",
    "NetworkConfig",
    "OptimizerConfig",
    "OutputConfig",
    "PreviewConfig",
    "PromptOptions",
    "ReplayConfig",
    "RunConfig",
    "SlotConfig",
    "StyleData",
    "SubsetConfig",
    "TrainingConfig",
    "require",
]
