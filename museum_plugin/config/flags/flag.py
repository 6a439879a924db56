"""One flag, and the parts of the RunConfig that flags fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields

from museum_plugin.config.convert import to_path, to_paths, to_rates
from museum_plugin.config.refusal import did_you_mean, refusal
from museum_plugin.config.schema import (
    BaseConfig,
    DatasetConfig,
    GateConfig,
    LogConfig,
    LossConfig,
    MetadataConfig,
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
    "gate": GateConfig,
    "log": LogConfig,
    "metadata": MetadataConfig,
}
PARTS = tuple(field.name for field in fields(RunConfig) if field.name in SECTIONS)
"""The sections that a RunConfig has one of, in its order."""


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
    is_secret: bool = False
    """Never written into a file."""

    @property
    def section(self) -> str:
        return self.field.partition(".")[0]

    @property
    def attribute(self) -> str:
        return self.field.partition(".")[2]

    @property
    def is_place(self) -> bool:
        """Whether it says where something lies."""
        return self.convert in (to_path, to_paths)

    @property
    def default(self) -> object:
        """The schema's default; None where there is none."""
        for field in fields(SECTIONS[self.section]) if self.section in SECTIONS else ():
            if field.name == self.attribute and field.default is not MISSING:
                return field.default
        return None

    def is_unset(self, value: object) -> bool:
        """Whether front ends write this value for nothing: an empty list of rates, or false for a path."""
        return (value == [] and self.convert is to_rates) or (value is False and self.is_place)

    def read(self, value: object, where: str) -> object:
        """The typed value; of choices, upper and lower case are the same.

        Raises:
            ConfigError: wrong type or not one of the choices.
        """
        result = self.convert(value, where)
        if isinstance(result, str):
            result = next((choice for choice in self.choices if choice.lower() == result.strip().lower()), result)
        if self.choices and result not in self.choices:
            near = did_you_mean(str(result), self.choices)
            raise refusal(where, value, ", ".join(self.choices) + near)
        return result
