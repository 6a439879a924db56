"""The command line and its config files -> RunConfig.

A flag on the command line wins over a later --config_file, that over an earlier one, that over the default.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from museum_plugin.config.command_line import typed_flags
from museum_plugin.config.flags import PARTS
from museum_plugin.config.flags import describe as describe
from museum_plugin.config.folder_layout import read_sources
from museum_plugin.config.given import Given
from museum_plugin.config.learning import base_fields, optimizer_fields, trained_parts
from museum_plugin.config.output_config import config_files, write_config
from museum_plugin.config.problems import Problems
from museum_plugin.config.sample_prompts import read_prompt_file, read_prompt_items
from museum_plugin.config.schema import NetworkConfig, PromptOptions, RunConfig, StyleData
from museum_plugin.config.style_names import pick_style, with_triggers, without_museum
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

POCKET_MODEL = Path(__file__).resolve().parents[1] / "pocket" / "model"


def _read_command_line(argv: Sequence[str], problems: Problems) -> Given:
    given, typed = Given(problems=problems), typed_flags(argv, problems)
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


def _read_styles(given: Given) -> tuple[StyleData, ...]:
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


def _build(given: Given) -> dict[str, Any]:
    """The parts of a RunConfig."""
    values = given.values
    if values.get("log_with") in ("tensorboard", "all") and values.get("logging_dir") is None:
        told = f"{given.where['log_with']}: found {values['log_with']!r}, which needs --logging_dir"
        given.problems.note(ConfigError(told))
    training = given.build("training")
    layout: dict[str, Any] = {}
    with given.problems:
        layout = base_fields(values, given.where)
    base = given.build("base", path=values.get("pretrained_model_name_or_path", POCKET_MODEL), **layout)
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
    network = given.section("network")
    network["alpha"] = network.get("alpha") or float(network.get("rank", NetworkConfig.rank))
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
        "network": {**network, **trained},
        "optimizer": optimizer,
        "preview": {"prompts": read[0], "options": read[1]},
        "output": {
            "output_dir": values.get("output_dir", Path("output")),
            "output_name": values.get("output_name", museum.stem if museum else "last"),
            "log_with": values.get("log_with", "tensorboard" if "logging_dir" in values else None),
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
