"""Which styles of a dataset file are taught, under which names and triggers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from museum_plugin.config.given import Given
from museum_plugin.config.refusal import shown
from museum_plugin.config.schema import StyleData
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")


def pick_style(styles: tuple[StyleData, ...], given: Given, origin: Path) -> tuple[StyleData, ...]:
    """The style that --style asks for, or all."""
    wanted = given.values.get("style")
    if wanted is None:
        return styles
    if len(styles) == 1 and styles[0].name is None:
        return (replace(styles[0], name=str(wanted)),)
    picked = tuple(style for style in styles if style.name == wanted)
    if not picked:
        names = ", ".join(str(style.name) for style in styles)
        raise ConfigError(f"{given.where['style']}: found {shown(wanted)}, allowed by {origin}: {names}")
    return picked


def without_museum(styles: tuple[StyleData, ...], given: Given, origin: Path) -> tuple[StyleData, ...]:
    if len(styles) > 1:
        names = ", ".join(str(style.name) for style in styles)
        raise ConfigError(f"{origin}: several styles need --museum (found: {names}); give it, or one --style")
    if styles[0].name or styles[0].trigger or given.values.get("trigger"):
        log.info("without --museum a plain LoRA is trained: style and trigger are not used")
    return (replace(styles[0], name=None, trigger=None),)


def with_triggers(styles: tuple[StyleData, ...], given: Given, origin: Path) -> tuple[StyleData, ...]:
    """Every trigger set; --trigger never overrules the dataset file silently."""
    flag = given.values.get("trigger")
    trigger = "auto" if flag is None or str(flag).lower() == "auto" else str(flag)
    if trigger != "auto" and len(styles) > 1:
        raise ConfigError(
            f"{given.where['trigger']}: found {shown(flag)} for {len(styles)} styles; "
            "write trigger beside each style in the dataset file, or pick one with --style"
        )
    named = []
    for style in styles:
        own = style.trigger if style.trigger != "auto" else None
        if None not in (own, flag) and trigger not in ("auto", own):
            where = given.where["trigger"]
            raise ConfigError(f"{where}: found {shown(flag)}, but {origin} says {shown(own)}; keep one of them")
        named.append(replace(style, trigger=own or trigger))
    return tuple(named)
