"""The command line and its config files -> RunConfig. The only file that sees argparse.

A flag on the command line wins over a later --config_file, that over an earlier one, that over the default.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from museum_plugin.config.convert import to_bool
from museum_plugin.config.flags import (
    ANSWERS,
    BY_NAME,
    FLAGS,
    FRONT_END_KEYS,
    LISTS,
    NOT_HONOURED,
    PARTS,
    SECTIONS,
    TABLES,
    Flag,
    asks_for_nothing,
    is_known,
    unknown,
)
from museum_plugin.config.flags import (
    describe as describe,
)
from museum_plugin.config.folder_layout import read_sources
from museum_plugin.config.foreign import refuse_foreign
from museum_plugin.config.learning import optimizer_fields, trained_parts
from museum_plugin.config.output_config import config_files, config_path, write_config
from museum_plugin.config.problems import Problems
from museum_plugin.config.read import existing, read_table
from museum_plugin.config.refusal import named, shown
from museum_plugin.config.sample_prompts import prompt_list, prompts_in, read_prompt_file, read_prompt_items
from museum_plugin.config.schema import NetworkConfig, PromptOptions, RunConfig, StyleData
from museum_plugin.config.style_names import pick_style, with_triggers, without_museum
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

POCKET_MODEL = Path(__file__).resolve().parents[1] / "pocket" / "model"


class _Parser(argparse.ArgumentParser):
    """argparse whose complaints are ConfigErrors."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"command line: {message.removeprefix('argument ')}")


@cache
def _parser() -> _Parser:
    parser = _Parser(
        prog="train_museum.py",
        usage="%(prog)s --dataset_config DATASET.toml [--museum MUSEUM.safetensors] [flags]",
        description="Teaches one LoRA file one style after another. Every flag is also a key of a --config_file.",
        epilog=f"{len(NOT_HONOURED)} more sd-scripts flags are accepted; a run says which of them it does not honour.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups = {section: parser.add_argument_group(section) for section in dict.fromkeys(f.section for f in FLAGS)}
    for flag in FLAGS:
        groups[flag.section].add_argument(f"--{flag.name}", help=_help(flag), **_shape(flag))
    for name, known in NOT_HONOURED.items():
        many: dict[str, Any] = {"nargs": "*"} if str(known["type"]).endswith("*") else {}
        yes_no: dict[str, Any] = {"nargs": "?", "const": True} if known["type"] == "bool" else {}
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS, **many, **yes_no)
    return parser


def _shape(flag: Flag) -> dict[str, Any]:
    """How many words follow the flag. Types are checked later, the same way as those of config files."""
    if flag.name == "config_file":
        return {"action": "append", "metavar": "FILE"}
    if flag.convert is to_bool:
        return {"nargs": "?", "const": True, "metavar": "false"}
    if flag.name in (*TABLES, *LISTS):
        return {"nargs": "*", "metavar": "NAME=VALUE" if flag.name in TABLES else "VALUE"}
    return {"metavar": "|".join(flag.choices) if 0 < len(flag.choices) < 5 else "VALUE"}


def _help(flag: Flag) -> str:
    choices = f"; one of {', '.join(flag.choices)}" if len(flag.choices) >= 5 else ""
    default = f" (default: {flag.default})" if flag.default not in (None, False, ()) else ""
    return (flag.help + choices + default).replace("%", "%%")


@dataclass
class _Given:
    """What the user gave, by flag name; a later `take` wins."""

    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
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
        if self.values.get("xformers") or self.values.get("sdpa"):
            log.info("attention: PyTorch's SDPA is used (asked for: xformers or sdpa)")
        if self.values.get("network_train_unet_only") is False and "text_encoder_lr" not in self.values:
            log.info("network_train_unet_only is false, but without text_encoder_lr the text encoder is not trained")
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


def _read_command_line(argv: Sequence[str], problems: Problems) -> _Given:
    given = _Given(problems=problems)
    namespace, rest = argparse.Namespace(), list[str]()
    with problems:
        namespace, rest = _parser().parse_known_args(list(argv))
    if rest and not rest[0].startswith("--"):
        problems.note(ConfigError(f"command line: found {shown(rest[0])}, allowed: flags, which begin with --"))
    for name in (word.partition("=")[0] for word in rest if word.startswith("--")):
        problems.note(unknown(name[2:], name))
    typed = vars(namespace)
    files, to_write = list[Path](), None
    with problems:
        files, to_write = config_files(typed)
    for path in files:
        with problems:
            given.take_file(path)
    for name, raw in typed.items():
        given.take(name, raw, f"--{name}")
    if to_write is not None and not problems.gather:
        write_config(to_write, given.values, given.not_honoured)
    return given


def _read_styles(given: _Given) -> tuple[StyleData, ...]:
    """The styles to teach, named and with triggers as the run (museum or plain LoRA) needs them."""
    defaults = {**given.section("dataset"), **given.section("subset")}
    styles, origin = read_sources(given.values, defaults, given.problems)
    if not styles:
        return ()
    styles = pick_style(styles, given, origin)
    if given.values.get("museum") is None:
        return without_museum(styles, given, origin)
    fallback = origin.resolve().name if origin.is_dir() else origin.stem
    return with_triggers(tuple(replace(s, name=s.name or fallback) for s in styles), given, origin)


def _build(given: _Given) -> dict[str, Any]:
    """The parts of a RunConfig."""
    values = given.values
    if values.get("log_with") is not None and values.get("logging_dir") is None:
        told = f"{given.where['log_with']}: found {values['log_with']!r}, which needs --logging_dir"
        given.problems.note(ConfigError(told))
    training = given.build("training")
    base = given.build("base", path=values.get("pretrained_model_name_or_path", POCKET_MODEL))
    if "pretrained_model_name_or_path" not in values:
        log.info("no --pretrained_model_name_or_path: the embedded pocket model is used (%s)", POCKET_MODEL)
    rates = given.section("optimizer")
    trained = {"train_unet": True, "train_text_encoder": False}
    optimizer: dict[str, Any] = {}
    with given.problems:
        trained = trained_parts(values, given.where, rates)
    with given.problems:
        trains_text = trained["train_text_encoder"]
        steps = training.steps if training.epochs is None else None
        optimizer = optimizer_fields(values, given.where, rates, steps, trains_text=trains_text)
    rank = given.section("network").get("rank", NetworkConfig.rank)
    museum = values.get("museum")
    prompts = values.get("sample_prompts", ())
    read: tuple[tuple[str, ...], tuple[PromptOptions, ...]] = ((), ())
    with given.problems:
        read = read_prompt_file(prompts) if isinstance(prompts, Path) else read_prompt_items(prompts, "sample_prompts")
    styles: tuple[StyleData, ...] = ()
    with given.problems:
        styles = _read_styles(given)
    built: dict[str, Any] = {"base": base, "training": training, "styles": styles}
    more: dict[str, dict[str, Any]] = {
        "network": {"alpha": float(rank), **given.section("network"), **trained},
        "optimizer": optimizer,
        "preview": {"prompts": read[0], "options": read[1]},
        "output": {
            "output_dir": values.get("output_dir", Path("output")),
            "output_name": values.get("output_name", museum.stem if museum else "last"),
        },
    }
    return built | {part: given.build(part, **more.get(part, {})) for part in PARTS if part not in built}


def parse_command_line(argv: Sequence[str]) -> RunConfig:
    """The RunConfig of a command line (without the program's name); `--help` prints and exits.

    Raises:
        ConfigError: an unknown or impossible flag, config file, dataset file or prompt file.
    """
    given = _read_command_line(argv, Problems())
    given.report()
    return RunConfig(**_build(given))


def gather_command_line(argv: Sequence[str], problems: Problems) -> RunConfig:
    """The RunConfig as far as it can be read; what is wrong is noted, and stands at its default or is left out."""
    given = _read_command_line(argv, problems)
    given.report()
    parts = _build(given)
    with problems:
        return RunConfig(**parts)
    training = replace(parts["training"], cache_latents=False, cache_latents_to_disk=False)
    with problems:
        return RunConfig(**{**parts, "training": training})
    return RunConfig(**{**parts, "styles": ()})
