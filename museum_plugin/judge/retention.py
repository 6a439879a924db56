"""Draw the same prompts from the same seeds through base and museum, and judge every style by its signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.sampler import SamplingPlan, drawn_at_once, sample_latents
from museum_plugin.data.captions import with_trigger
from museum_plugin.errors import BaseModelError, ConfigError, MuseumFileError, TrainingError
from museum_plugin.judge.as_learned import AsLearned, effect_kept, pictures_moved, sketch
from museum_plugin.judge.matrix import kept_share, percent
from museum_plugin.judge.prediction_drift import fixed_triples, prediction_drift, predictions
from museum_plugin.judge.signature import Signature, distance, signature, style_score
from museum_plugin.museum.museum import Museum

BASE = "base"
"""Column of what the bare base draws."""
NO_TRIGGER = "no trigger"
"""Column of what the museum draws for prompts without a trigger."""
MEASURABLE = 0.1
"""A style that scored less when it was learned cannot be told from the noise of a few pictures. Source: ours."""
_PLACEHOLDER = "{style}"
_NOT_FINITE = "are not finite; if mixed_precision is fp16, use bf16 or no"


@dataclass(frozen=True)
class Exhibition:
    """What is drawn each time, so that two verdicts can be compared.

    Raises:
        ValueError: no prompt, not one seed for each prompt, or no batch.
    """

    prompts: tuple[str, ...]
    """Without any trigger; "{style}" marks where one belongs, if not at the end."""
    seeds: tuple[int, ...]
    """One for each prompt."""
    plan: SamplingPlan
    batch_size: int = 8
    """Pictures drawn at once, where there is room."""

    def __post_init__(self) -> None:
        if not self.prompts or len(self.prompts) != len(self.seeds):
            raise ValueError(f"{len(self.prompts)} prompts and {len(self.seeds)} seeds; as many of each, at least one")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; at least 1")


@dataclass(frozen=True, eq=False)
class Verdict:
    """What was found of every style."""

    names: tuple[str, ...]
    """In the order of learning."""
    scores: dict[str, float]
    """0 = as the base draws, 1 = statistics of the style's own pictures; see `style_score`."""
    drift: float
    """Of prompts without a trigger: 0 = as the base draws them, 1 = as far from that as a style is on average."""
    confusion: dict[str, str]
    """For each style the one whose signature its pictures are nearest to; itself where all is well."""
    latents: dict[str, Tensor]
    """(N, C, h, w) float32 on the CPU for each column: BASE, NO_TRIGGER, then every style."""
    effect_kept: dict[str, float] = field(default_factory=dict)
    """Of each style of which it is known what it did when it was learned; see `effect_kept`."""
    pictures_moved: dict[str, float] = field(default_factory=dict)
    """The same of its pictures; see `pictures_moved`."""
    neutral_moved: float = 0.0
    """`prediction_drift` of prompts without a trigger from the base's, by the mean effect of those styles when they
    were learned; of all as they are now, where it is known of none."""
    seen: dict[str, AsLearned] = field(default_factory=dict)
    """What each style does now."""

    def kept(self, before: Mapping[str, float]) -> dict[str, float]:
        """`kept_share` of each old style.

        Args:
            before: the score of each old style right after it was learned.
        Raises:
            ValueError: an old style was not judged.
        """
        missing = [name for name in before if name not in self.scores]
        if missing:
            raise ValueError(f"not judged: {', '.join(missing)}")
        return {name: kept_share(self.scores[name], was) for name, was in before.items()}

    def sentences(self, before: Mapping[str, float]) -> list[str]:
        """The verdict in words: a line for each style, one for each confusion, one for prompts without a trigger."""
        kept = self.kept(before)
        lines = []
        for name in self.names:
            now = self.scores[name]
            kept_effect = self.effect_kept.get(name)
            effect = "" if kept_effect is None else f", {percent(max(0.0, kept_effect))} of its effect"
            if before.get(name, now) < MEASURABLE:
                lines.append(
                    f"{name} is too near to what the base draws for its statistics to tell ({now:.2f}){effect}"
                )
            elif name in kept:
                lines.append(f"{name} keeps {percent(kept[name])} ({before[name]:.2f} -> {now:.2f}){effect}")
            else:
                lines.append(f"{name} is new: {now:.2f}")
        mixed = [(name, self.confusion[name]) for name in self.names if self.confusion[name] != name]
        lines += [f"{name} is confused: its pictures are nearest to {other}" for name, other in mixed]
        return [*lines, f"{NO_TRIGGER}: drift {self.drift:.2f}"]


def prompt_for(prompt: str, phrase: str) -> str:
    """A prompt with a style's phrase where "{style}" stands, else as captions carry it; without both for phrase "".

    Without a phrase, " in {style} style" goes as a whole, so that no broken sentence is left.
    """
    if not phrase:
        bare = prompt.replace(f" in {_PLACEHOLDER} style", "").replace(_PLACEHOLDER, "")
        return " ".join(bare.split())
    if _PLACEHOLDER in prompt:
        return prompt.replace(_PLACEHOLDER, phrase)
    return with_trigger(prompt, phrase)


def draw(museum: Museum, exhibition: Exhibition, style: str | None) -> Tensor:
    """Draw the exhibition with one style's trigger; inside `museum.disabled()`, from the bare base.

    Args:
        museum: attached, since drawing must not attach it a second time.
        style: a style with a slot, open or closed; None draws without a trigger.
    Returns:
        (N, C, h, w) scaled latents, float32, on the CPU; one for each prompt. The same for the same numbers.
    Raises:
        ConfigError: the museum has no such style.
        TrainingError: what was drawn is not finite.
    """
    phrase = museum.phrase(style)
    if style is not None and not phrase:
        known = ", ".join(museum.slots.slots) or "none yet"
        raise ConfigError(f"style {style!r} is not in this museum; it has: {known}")
    prompts = [prompt_for(prompt, phrase) for prompt in exhibition.prompts]
    parts, count = [], drawn_at_once(museum.base, exhibition.plan, exhibition.batch_size)
    for start in range(0, len(prompts), count):
        part = slice(start, start + count)
        parts.append(sample_latents(museum.base, prompts[part], exhibition.seeds[part], exhibition.plan).cpu())
    latents = torch.cat(parts)
    if not bool(torch.isfinite(latents).all()):
        raise TrainingError(f"pictures drawn with {style or NO_TRIGGER} {_NOT_FINITE}")
    return latents


def judge(
    museum: Museum,
    exhibition: Exhibition,
    signatures: Mapping[str, Signature],
    *,
    learned: Mapping[str, AsLearned] | None = None,
    base_latents: Tensor | None = None,
) -> Verdict:
    """Draw every style, no style and the bare base, and measure them. Nothing is changed. Source: ours.

    Args:
        museum: attached.
        signatures: of each style's own training pictures, in the order of learning.
        learned: what styles did when they were learned, with this exhibition, as far as it is known.
        base_latents: what the bare base drew for this exhibition (`latents[BASE]` of an earlier verdict); saves
            drawing it again.
    Raises:
        MuseumFileError: there is no style to judge.
        ConfigError: a style has no slot in this museum.
        BaseModelError, TrainingError: what the base or the museum draws is not finite.
    """
    if not signatures:
        raise MuseumFileError("the museum has no style with a signature yet: nothing to judge")
    latents = {BASE: _draw_base(museum, exhibition) if base_latents is None else base_latents}
    latents[NO_TRIGGER] = draw(museum, exhibition, None)
    drawn = {name: draw(museum, exhibition, name) for name in signatures}
    base = signature(latents[BASE])
    found = {name: signature(pictures) for name, pictures in drawn.items()}
    effects = _effects(museum, exhibition, latents[BASE], (None, *signatures))
    seen = {name: AsLearned(found[name], sketch(effects[name])) for name in signatures}
    then = {name: was for name, was in (learned or {}).items() if name in seen}
    scale = list((then or seen).values())  # not by what is judged, where there is something else
    strength = sum(was.strength for was in scale) / len(scale)
    away = sum(distance(was.drawn, base) for was in scale) / len(scale)
    return Verdict(
        names=tuple(signatures),
        scores={name: style_score(found[name], style, base) for name, style in signatures.items()},
        drift=relative_drift(signature(latents[NO_TRIGGER]), base, signatures),
        confusion={name: nearest_style(found[name], signatures) for name in signatures},
        latents=latents | drawn,
        effect_kept={name: effect_kept(seen[name].effect, was.effect, strength) for name, was in then.items()},
        pictures_moved={n: pictures_moved(seen[n].drawn, was.drawn, base, away) for n, was in then.items()},
        neutral_moved=prediction_drift(effects[None].square().mean().sqrt().item(), strength),
        seen=seen,
    )


def look_at(museum: Museum, exhibition: Exhibition, styles: Sequence[str]) -> dict[str, AsLearned]:
    """What styles do, without judging it.

    Args:
        museum: attached.
    Raises:
        ConfigError, BaseModelError, TrainingError: see `judge`.
    """
    effects = _effects(museum, exhibition, _draw_base(museum, exhibition), styles)
    return {name: AsLearned(signature(draw(museum, exhibition, name)), sketch(effects[name])) for name in styles}


def _effects(
    museum: Museum, exhibition: Exhibition, base_latents: Tensor, styles: Sequence[str | None]
) -> dict[str | None, Tensor]:
    """(K * N, C, h, w) for each style: its predictions less the bare base's, on the base's pictures under noise."""
    triples = fixed_triples(Denoiser(museum.base), base_latents, exhibition.seeds)
    count = drawn_at_once(museum.base, exhibition.plan, exhibition.batch_size)

    def predicted(phrase: str) -> Tensor:
        prompts = [prompt_for(prompt, phrase) for prompt in exhibition.prompts]
        return predictions(museum, triples, prompts, exhibition.plan.text, count)

    with museum.disabled():
        bare = predicted("")
    return {style: predicted(museum.phrase(style)) - bare for style in styles}


def _draw_base(museum: Museum, exhibition: Exhibition) -> Tensor:
    with museum.disabled():
        try:
            return draw(museum, exhibition, None)
        except TrainingError as error:
            raise BaseModelError(f"pictures drawn by the bare base {_NOT_FINITE}") from error


def relative_drift(no_trigger: Signature, base: Signature, styles: Mapping[str, Signature]) -> float:
    """distance(no_trigger, base) / mean over styles of distance(base, style); >= 0. Source: ours.

    Where every style has the base's own statistics there is no scale: 0 without any drift, else 1.
    """
    moved = distance(no_trigger, base)
    scale = sum(distance(base, style) for style in styles.values()) / len(styles)
    return moved / scale if scale > 0 else float(moved > 0)


def nearest_style(drawn: Signature, styles: Mapping[str, Signature]) -> str:
    """Name of the style whose signature is nearest; the earlier one of equals."""
    return min(styles, key=lambda name: distance(drawn, styles[name]))
