"""What `check` finds out about the base model, the museum that grows, and the states to go on from."""

from __future__ import annotations

import logging
from pathlib import Path

from museum_plugin.base.folder import BaseOutline, empty_networks
from museum_plugin.base.memory import check_swap
from museum_plugin.base.other_vae import read_vae
from museum_plugin.base.outline import outline_fingerprint, read_outline
from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import RunConfig
from museum_plugin.errors import MuseumFileError
from museum_plugin.export.clients import verdict_lines, verdicts
from museum_plugin.export.outline import read_outline as read_lora_outline
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.lora_file import fitting_factors, merged_fingerprint, merged_name, with_multipliers
from museum_plugin.museum.store import check_base
from museum_plugin.train.checkpoint import check_unfinished, going_on, read_state
from museum_plugin.train.paths import checkpoint_file
from museum_plugin.train.plan import PlannedStyle
from museum_plugin.train.resume import check_resume, check_settings, id_to_begin_with, ledger_of_state
from museum_plugin.train.start import (
    asked_shapes,
    check_clip_skip,
    check_noise_schedule,
    check_shape,
    warn_of_another_schedule,
)

log = logging.getLogger("museum")


def outline_of(run: RunConfig, problems: Problems) -> BaseOutline | None:
    """What is known of the base model, if it can be read; and what of the run it does not go with."""
    with problems:
        base = read_outline(run.base)
        with problems:
            check_clip_skip(run, base.family, base.name, base.text_layers)
        with problems:
            if run.base.vae:
                read_vae(run.base.vae, empty_networks(base).vae, base.family)
        with problems:
            if run.base.swapped:
                check_swap(run.base, empty_networks(base).unet, base.name)
        with problems:
            check_noise_schedule(run.loss, base.name, base.prediction_type, base.timesteps)
        return base
    return None


def known_ledger(run: RunConfig, base: BaseOutline | None, problems: Problems) -> Ledger | None:
    """The ledger of the museum that grows, if there is one that can be read."""
    name, fingerprint, shapes = "", None, None
    with problems:
        name, fingerprint = _merged(run, base) if base else ("", None)
    with problems:
        shapes = asked_shapes(run.network, empty_networks(base)) if base else None
    path = run.output.museum
    if path is None:
        return None
    with problems:
        ledger = read_museum(path).ledger if path.exists() else ledger_of_state(run.output)
        if ledger is None:
            return None
        path = path if path.exists() else Path(str(run.output.resume))
        warn_of_another_schedule(ledger, run.loss)
        with problems:
            check_shape(run, ledger, path, None if run.network.dim_from_weights else shapes)
        with problems:
            if fingerprint:
                check_base(path, ledger, name=name, fingerprint=fingerprint)
        if base and not fingerprint:
            log.warning("%s: whether %s is its base model shows only when training starts", path, base.path)
        return ledger
    return None


def museum_id_of(run: RunConfig, base: BaseOutline | None, ledger: Ledger | None, problems: Problems) -> str:
    """The id of the museum that grows or begins; "" where it cannot be told."""
    if ledger is not None:
        return ledger.museum_id
    with problems:
        return id_to_begin_with(run, base) if base is not None else ""
    return ""


def clients_of(run: RunConfig) -> tuple[str, ...]:
    """What each program that draws does with the museum file; nothing where there is none, or it cannot be read."""
    path = run.output.museum
    if path is None or not path.exists():
        return ()
    try:
        return tuple(verdict_lines(verdicts(read_lora_outline(path))))
    except MuseumFileError:  # told by whoever opens the museum
        return ()


def _merged(run: RunConfig, base: BaseOutline) -> tuple[str, str | None]:
    """Name and fingerprint of the base with `base_weights` merged in; None where they show only in training."""
    name, fingerprint = base.name, outline_fingerprint(base)
    for path, multiplier in with_multipliers(run.network.base_weights, run.network.base_weights_multiplier):
        factors = fitting_factors(empty_networks(base), path)
        name = merged_name(name, path, multiplier)
        fingerprint = merged_fingerprint(fingerprint, factors, multiplier) if fingerprint else None
    return name, fingerprint


def resumed(run: RunConfig, plans: list[PlannedStyle], known: tuple[str, ...], problems: Problems) -> str | None:
    """Which style goes on from where.

    Args:
        plans: of the styles that will be taught.
        known: the styles of the museum.
    Raises:
        ConfigError: a state is damaged, or of another run.
    """
    by_name, unfinished, asked = {p.style.name or "": p for p in plans}, checkpoint_file(run.output), run.output.resume
    told = check_unfinished(unfinished, list(by_name), known)
    if not run.styles or problems.found:  # else every other mistake would be told as a difference, too
        return told
    check_resume(run.output, known, by_name)
    states = [read_state(path) for path in ([unfinished] if told else []) + ([asked] if asked else [])]
    for state in states:
        check_settings(state, run, by_name[state["style"]].style, by_name[state["style"]].dataset)
    latest = max(states, key=lambda state: int(state["step"]), default=None)
    return None if latest is None else going_on(latest)
