"""The gate: whether a museum may take the place of the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.matrix import percent
from museum_plugin.judge.retention import NO_TRIGGER, Verdict

TELLING = 0.2
"""Of a score below this the noise of a few pictures is too large a part. Source: ours."""


def objections(verdict: Verdict, before: Mapping[str, float], gate: GateConfig) -> list[str]:
    """What a verdict has against a museum, in words; empty where it passes. Source: ours.

    Only styles that scored 0.2 or more when they were learned have a say; without any, the drift has none either.

    Args:
        before: the score of each old style right after it was learned.
        gate: the thresholds; its mode is not looked at.
    """
    telling = {name: was for name, was in before.items() if was >= TELLING}
    found = [
        f"{name} keeps {percent(share)} (gate_kept: {percent(gate.kept)})"
        for name, share in verdict.kept(telling).items()
        if share < gate.kept
    ]
    new = [name for name in verdict.names if name not in before]
    found += [
        f"{name} reaches {verdict.scores[name]:.2f} (gate_learned: {gate.learned:g})"
        for name in new
        if verdict.scores[name] < gate.learned
    ]
    if verdict.drift > gate.drift and (telling or any(verdict.scores[name] >= TELLING for name in new)):
        found.append(f"{NO_TRIGGER}: drift {verdict.drift:.2f} (gate_drift: {gate.drift:g})")
    return found


def is_learned(verdict: Verdict, before: Mapping[str, float], gate: GateConfig) -> bool:
    """Whether the new style scores `stop_when_learned` while all that the gate looks at is kept; else never."""
    target = gate.stop_when_learned
    return target is not None and not objections(verdict, before, replace(gate, learned=max(target, gate.learned)))
