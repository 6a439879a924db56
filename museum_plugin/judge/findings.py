"""All that is always measured of a museum, against the museum before where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import BaseModel
from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.as_learned import as_learned
from museum_plugin.judge.confusion import Confusion, confusion_matrix
from museum_plugin.judge.gate import objections
from museum_plugin.judge.memorization import Memorization, memorization
from museum_plugin.judge.prediction_drift import fixed_triples, prediction_drift, prediction_effect, predictions
from museum_plugin.judge.retention import BASE, NO_TRIGGER, Exhibition, Verdict, draw, judge, prompt_for
from museum_plugin.judge.signature import Signature, signature, signatures_of, statistics_shift
from museum_plugin.museum.museum import Museum


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found of one museum."""

    verdict: Verdict
    learned: dict[str, float]
    """The score of each old style right after it was learned."""
    confusion: Confusion
    """Each trigger's pictures, judged as each style or as the base's."""
    prediction_drift: dict[str, float] = field(default_factory=dict)
    """`prediction_drift` of NO_TRIGGER against the bare base, and of each old style where there is a museum before."""
    statistics_shift: dict[str, float] = field(default_factory=dict)
    """`statistics_shift` of each old style; nothing without a museum before."""
    memorization: dict[str, Memorization] = field(default_factory=dict)
    """Of each style whose training pictures are at hand."""
    before: dict[str, Tensor] = field(default_factory=dict)
    """What the museum before drew: NO_TRIGGER, then its styles; (N, C, h, w) latents as in the verdict."""

    def objections(self, gate: GateConfig | None = None) -> list[str]:
        """What the gate has against this museum; by default, the gate with its own thresholds."""
        return objections(self.verdict, self.learned, gate or GateConfig())

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values; without latents."""
        verdict = self.verdict
        memories = {
            name: {"ratios": list(m.ratios), "nearest": list(m.nearest), "spacing": m.spacing, "copies": m.copies}
            for name, m in self.memorization.items()
        }
        return {
            "scores": dict(verdict.scores),
            "learned": dict(self.learned),
            "kept": verdict.kept(self.learned),
            "drift": verdict.drift,
            "effect_kept": dict(verdict.effect_kept),
            "pictures_moved": dict(verdict.pictures_moved),
            "neutral_moved": verdict.neutral_moved,
            "prediction_drift": dict(self.prediction_drift),
            "statistics_shift": dict(self.statistics_shift),
            "confusion": {name: dict(row) for name, row in self.confusion.items()},
            "memorization": memories,
            "objections": self.objections(),
            "verdict": verdict.sentences(self.learned),
        }


def examine(
    now: Museum,
    earlier: Museum | None,
    exhibition: Exhibition,
    training: Mapping[str, Tensor] | None = None,
    *,
    base_latents: Tensor | None = None,
    before: Mapping[str, Tensor] | None = None,
) -> Findings:
    """Draw and measure all. Nothing is changed.

    Args:
        now, earlier: on one base, neither attached; None where there is no museum before.
        training: style -> (M, C, h, w) latents of its training pictures, in the size that is drawn.
        base_latents, before: what the bare base and the museum before drew for this exhibition, where that is known.
    Raises:
        MuseumError: there is no style to judge, or what is drawn is not finite.
    """
    records = {record.name: record for record in now.ledger.styles}
    signatures = signatures_of(now.ledger.styles)
    with now.attached():
        known = as_learned(now.ledger.styles)
        verdict = judge(now, exhibition, signatures, learned=known, base_latents=base_latents)
    if before is None:
        before = drawn_before(earlier, exhibition) if earlier else {}
    old = earlier.styles() if earlier else now.styles()[:-1]
    return Findings(
        verdict=verdict,
        learned={n: records[n].scores[n] for n in verdict.names if n in old and n in records[n].scores},
        confusion=confusion_of(verdict, signatures),
        prediction_drift=drifts_of(now, earlier, exhibition, verdict, before),
        statistics_shift=shifts_of(verdict, before),
        memorization=memories_of(verdict, training or {}),
        before=dict(before),
    )


def confusion_of(verdict: Verdict, signatures: Mapping[str, Signature]) -> Confusion:
    """`confusion_matrix` of a verdict's pictures; BASE stands for pictures as the bare base draws them."""
    drawn = {name: verdict.latents[name] for name in verdict.names}
    return confusion_matrix(drawn, {**signatures, BASE: signature(verdict.latents[BASE])})


def memories_of(verdict: Verdict, training: Mapping[str, Tensor]) -> dict[str, Memorization]:
    """`memorization` of each style of a verdict whose training pictures are at hand, in latents of the same size."""
    return {name: memorization(verdict.latents[name], training[name]) for name in verdict.names if name in training}


def drawn_before(museum: Museum, exhibition: Exhibition) -> dict[str, Tensor]:
    """What the museum before draws: NO_TRIGGER, then its styles.

    Args:
        museum: not attached; nothing else may be.
    """
    with museum.attached():
        return {name or NO_TRIGGER: draw(museum, exhibition, name) for name in (None, *museum.styles())}


def shifts_of(verdict: Verdict, before: Mapping[str, Tensor]) -> dict[str, float]:
    """`statistics_shift` of each style of a verdict that the museum before drew, too."""
    base = signature(verdict.latents[BASE])
    return {
        name: statistics_shift(signature(verdict.latents[name]), signature(before[name]), base)
        for name in verdict.names
        if name in before
    }


def drifts_of(
    now: Museum, earlier: Museum | None, exhibition: Exhibition, verdict: Verdict, before: Mapping[str, Tensor]
) -> dict[str, float]:
    """`prediction_drift` of NO_TRIGGER, and of each style that the museum before knows.

    A style's latents are those that the museum before drew, since the question is what became of these; for NO_TRIGGER
    they are the bare base's.

    Args:
        now, earlier: not attached; on one base.
        before: see `drawn_before`; empty without a museum before.
    """
    drifts, effects = {}, []
    for name in verdict.names:
        if earlier is not None and name in before:
            drifts[name], effect = style_drift(now, earlier, name, exhibition, before[name])
        else:
            _, effect = style_drift(now, now, name, exhibition, verdict.latents[name])
        effects.append(effect)
    seen = _Seen(exhibition, verdict.latents[BASE], now.base)
    moved = prediction_effect(seen.by(now, None), seen.by_base(now))
    return {NO_TRIGGER: prediction_drift(moved, sum(effects) / len(effects)), **drifts}


def style_drift(
    now: Museum, earlier: Museum, name: str, exhibition: Exhibition, latents: Tensor
) -> tuple[float, float]:
    """`prediction_drift` of a style since an earlier museum, and the style's effect on the base in that museum.

    Args:
        latents: that the earlier museum drew with the style's trigger.
    """
    seen = _Seen(exhibition, latents, now.base)
    then = seen.by(earlier, name)
    effect = prediction_effect(then, seen.by_base(earlier))
    moved = 0.0 if now is earlier else prediction_effect(seen.by(now, name), then)
    return prediction_drift(moved, effect), effect


class _Seen:
    """Fixed triples of some pictures of an exhibition, and what museums predict on them."""

    def __init__(self, exhibition: Exhibition, latents: Tensor, base: BaseModel) -> None:
        self._exhibition = exhibition
        self._triples = fixed_triples(Denoiser(base), latents, exhibition.seeds)

    def by(self, museum: Museum, style: str | None) -> Tensor:
        with museum.attached():
            return self._predicted(museum, museum.phrase(style))

    def by_base(self, museum: Museum) -> Tensor:
        with museum.attached(), museum.disabled():
            return self._predicted(museum, "")

    def _predicted(self, museum: Museum, phrase: str) -> Tensor:
        prompts = [prompt_for(prompt, phrase) for prompt in self._exhibition.prompts]
        return predictions(museum, self._triples, prompts, self._exhibition.plan.text)
