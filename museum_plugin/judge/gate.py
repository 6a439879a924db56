"""The gate: whether a museum may take the place of the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.matrix import percent
from museum_plugin.judge.retention import NO_TRIGGER, Verdict

TELLING = 0.2
"""Of a score below this the noise of a few pictures is too large a part. Source: ours."""
_KEPT = 0.6
"""Share of its score that a style must keep of which nothing else is known. Source: ours, measured; docs/method.md."""


def objections(verdict: Verdict, before: Mapping[str, float], gate: GateConfig) -> list[str]:
    """What a verdict has against a museum, in words; empty where it passes. Source: ours.

    By statistics of pictures, only styles that scored 0.2 or more when they were learned are judged; without any, what
    is drawn without a trigger has no say either.

    Args:
        before: the score of each old style right after it was learned.
        gate: the thresholds; its mode is not looked at.
    """
    new = [name for name in verdict.names if name not in before]
    telling = {name: was for name, was in before.items() if was >= TELLING}
    found = [text for name in verdict.names for text in _of_style(name, verdict, telling, gate)]
    found += [
        f"{name} reaches {verdict.scores[name]:.2f} (gate_learned: {gate.learned:g})"
        for name in new
        if verdict.scores[name] < gate.learned
    ]
    if not telling and all(verdict.scores[name] < TELLING for name in new):
        return found  # no style to measure what is drawn without a trigger by
    if verdict.drift > gate.drift:
        found.append(f"{NO_TRIGGER}: drift {verdict.drift:.2f} (gate_drift: {gate.drift:g})")
    if verdict.neutral_moved > gate.neutral:
        found.append(f"{NO_TRIGGER}: predictions moved {verdict.neutral_moved:.2f} (gate_neutral: {gate.neutral:g})")
    return found


def _of_style(name: str, verdict: Verdict, telling: Mapping[str, float], gate: GateConfig) -> Iterator[str]:
    """What there is against a style: by what it did when it was learned, else by its score."""
    known = name in verdict.effect_kept
    if known and verdict.effect_kept[name] < gate.effect:
        kept = percent(max(0.0, verdict.effect_kept[name]))
        yield f"{name} keeps {kept} of its effect (gate_effect: {percent(gate.effect)})"
    if name in telling and verdict.pictures_moved.get(name, 0.0) > gate.pictures:
        yield f"{name}: pictures moved {verdict.pictures_moved[name]:.2f} (gate_pictures: {gate.pictures:g})"
    least = _KEPT if gate.kept is None and not known else gate.kept
    if least is not None and name in telling:
        share = verdict.kept(telling)[name]
        if share < least:
            yield f"{name} keeps {percent(share)} of its score (gate_kept: {percent(least)})"


def is_learned(verdict: Verdict, before: Mapping[str, float], gate: GateConfig) -> bool:
    """Whether the new style scores `stop_when_learned` while all that the gate looks at is kept; else never."""
    target = gate.stop_when_learned
    return target is not None and not objections(verdict, before, replace(gate, learned=max(target, gate.learned)))
