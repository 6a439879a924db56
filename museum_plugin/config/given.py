"""What a user gave, from the command line and from config files: each value checked, with the place where it stood."""

from __future__ import annotations

import logging
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from museum_plugin.config.flags import (
    ANSWERS,
    BY_NAME,
    FLAGS,
    FRONT_END_KEYS,
    SECTIONS,
    TABLES,
    asks_for_nothing,
    is_known,
    unknown,
)
from museum_plugin.config.foreign import refuse_foreign
from museum_plugin.config.learning import other_defaults
from museum_plugin.config.output_config import config_path
from museum_plugin.config.problems import Problems
from museum_plugin.config.read import existing, read_table
from museum_plugin.config.refusal import named
from museum_plugin.config.sample_prompts import prompt_list, prompts_in
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")


@dataclass
class Given:
    """What the user gave, by flag name; a later `take` wins."""

    values: dict[str, Any] = field(default_factory=dict)
    """Typed and checked."""
    where: dict[str, str] = field(default_factory=dict)
    """Where each stood, such as "run.toml: seed" or "--seed"."""
    not_honoured: dict[str, object] = field(default_factory=dict)
    front_end: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)

    def take(self, name: str, raw: object, where: str, folder: Path | None = None) -> None:
        """Check one value and keep it; None and "" count as not given (front ends write them)."""
        with self.problems:
            self._take(name, raw, where, folder)

    def _take(self, name: str, raw: object, where: str, folder: Path | None) -> None:
        flag = BY_NAME.get(name)
        if raw is None or raw == "" or (flag is not None and flag.is_unset(raw)):
            return
        if name in FRONT_END_KEYS or (name == "dynamo_backend" and raw == "no"):
            self.front_end.append(name)
        elif flag is None:
            self.not_honoured[name] = raw
        elif name == "sample_prompts" and isinstance(raw, list):
            self._keep(name, prompt_list(raw, where), where)
        elif name == "sample_prompts" and isinstance(raw, str) and (prompts := prompts_in(raw, folder)):
            log.info("%s: no file is named so, and it is taken as prompts, one a line", where)
            self._keep(name, prompts, where)
        else:
            value = flag.read(raw, where)
            if flag.is_input and isinstance(value, Path):
                value = existing(value, folder)
            elif flag.is_input and isinstance(value, tuple):
                value = tuple(existing(path, folder) for path in value)
            self._keep(name, value, where)

    def _keep(self, name: str, value: object, where: str) -> None:
        self.values[name], self.where[name] = value, where

    def take_file(self, path: Path) -> None:
        """Take every key of a config file; one level of sections is flattened, as sd-scripts does."""
        is_json = path.suffix.lower() == ".json"
        path = path if is_json else config_path(path)
        table = read_table(path, "--config_file") if not is_json or path.is_file() else {}
        refuse_foreign(path, table)
        if is_json:
            raise ConfigError(f'--config_file: found "{path}", allowed: a TOML file')
        for key, value in table.items():
            is_section = isinstance(value, dict) and key not in TABLES
            for name, raw in value.items() if is_section else [(key, value)]:
                if name == "config_file" and raw:
                    told = f"{path}: config_file: a config file names no other; give --config_file twice"
                    self.problems.note(ConfigError(told))
                    continue
                if not is_known(name):
                    where = f"{path}: [{named(key)}] {named(name)}" if is_section else f"{path}: {named(name)}"
                    self.problems.note(unknown(name, where))
                    continue
                self.take(name, raw, f"{path}: {name}", path.parent)

    def report(self) -> None:
        """Say in one line each what was taken but has no effect."""
        idle = [name for name, raw in self.not_honoured.items() if not asks_for_nothing(name, raw)]
        for name in (name for name in idle if name in ANSWERS):
            log.info("%s: %s", name, ANSWERS[name])
        idle = [name for name in idle if name not in ANSWERS]
        if self.values.get("network_module", "networks.lora") != "networks.lora":
            idle.append(f"network_module={self.values['network_module']} (networks.lora is trained)")
        if idle:
            log.warning("known to sd-scripts but not honoured yet: %s", ", ".join(sorted(idle)))
        if self.front_end:
            names = ", ".join(sorted(set(self.front_end)))
            log.warning("keys of training front ends that mean nothing here: %s", names)
        if self.values.get("cache_info"):
            log.warning("cache_info: captions and sizes are read anew at every start, so that none is out of date")
        if left_out := other_defaults(self.values):
            log.warning("not given, and the default is not that of sd-scripts: %s", ", ".join(left_out))
        self._report_needless()

    def _report_needless(self) -> None:
        """Say in one line each what needs no asking for, or is asked for elsewhere."""
        if self.values.get("xformers") or self.values.get("sdpa"):
            log.info("attention: PyTorch's SDPA is used (asked for: xformers or sdpa)")
        if self.values.get("network_train_unet_only") is False and "text_encoder_lr" not in self.values:
            log.info("network_train_unet_only is false, but without text_encoder_lr the text encoder is not trained")
        if "train_text_encoder" in self.front_end and "text_encoder_lr" not in self.values:
            log.info("train_text_encoder: the text encoder is trained where text_encoder_lr is given")
        if self.values.get("skip_cache_check"):
            log.info("skip_cache_check: cached latents are found by content and always checked, which takes no time")

    def section(self, section: str) -> dict[str, Any]:
        """The given values of one part of the RunConfig, by field; unet_lr stands after learning_rate and wins."""
        flags = [flag for flag in FLAGS if flag.section == section and flag.attribute and flag.name in self.values]
        return {flag.attribute: self.values[flag.name] for flag in flags}

    def build(self, section: str, **more: object) -> Any:
        """One dataclass of the schema; where errors are gathered, each value is tried and the bad ones are left out."""
        values = {**self.section(section), **more}
        with self.problems:
            return self._built(section, values)
        needed = {f.name for f in fields(SECTIONS[section]) if f.default is MISSING and f.default_factory is MISSING}
        good = {name: value for name, value in values.items() if name in needed}
        for name, value in values.items():
            with self.problems:
                self._built(section, {**good, name: value})
                good[name] = value
        return self._built(section, good)

    def _built(self, section: str, values: dict[str, Any]) -> Any:
        """A refused value is traced back to where it was given."""
        try:
            return SECTIONS[section](**values)
        except ConfigError as error:
            name, colon, rest = str(error).partition(":")
            name = "learning_rate" if name == "unet_lr" and name not in self.where else name
            if not colon or name not in self.where:
                raise
            raise ConfigError(f"{self.where[name]}:{rest}") from error
