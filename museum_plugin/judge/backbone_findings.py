"""What a backbone finds of a museum's pictures: style, and how much of it is color alone; content; diversity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from museum_plugin.data.images import to_tensor
from museum_plugin.judge.backbone import Backbone, Features
from museum_plugin.judge.retention import BASE, MEASURABLE, NO_TRIGGER
from museum_plugin.judge.signature import Signature, distance, map_signature, statistics_shift, style_score

_COLOR_STEPS = 6
Pictures = Mapping[str, Sequence[Image.Image]]


@dataclass(frozen=True)
class BackboneFinding:
    """What is found of one trigger's pictures; None where there is nothing to compare with."""

    closeness: float | None
    """`style_score` by the network: 0 = as the base draws, 1 = as the style's training pictures."""
    colors: float | None
    """The same by color histograms alone: what a judge of colors would say."""
    margin: float | None
    """How much nearer the pictures are to their own training pictures than to those of the nearest other style, as a
    part of the base's distance from their own; below 0 they look more like the other style."""
    kept: float | None
    """`closeness` now / before, 0..1; where that was under 0.1 it cannot be told."""
    moved: float | None
    """`statistics_shift` by the network, of the pictures since the museum before; without a trigger, from the base's as
    a part of how far the styles are from these."""
    content: float | None
    """`agreement` with the prompts, or with what the base draws for them: 1 = all, 0.5 = chance."""
    diversity: float
    """`diversity`, 1 = as the base's pictures."""

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return asdict(self)

    def sentence(self) -> str:
        """The numbers in words."""
        parts = []
        if self.closeness is not None:
            parts.append(f"{self.closeness:.2f} of the way to its pictures (by colors alone {self.colors:.2f})")
        if self.margin is not None:
            parts.append(f"{abs(self.margin):.2f} {'nearer' if self.margin >= 0 else 'farther'} than the next style")
        if self.kept is not None:
            parts.append(f"{100 * self.kept:.0f} % kept")
        if self.moved is not None:
            parts.append(f"moved {self.moved:.2f}")
        if self.content is not None:
            parts.append(f"content {self.content:.2f}")
        return ", ".join([*parts, f"diversity {self.diversity:.2f}"])


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is compared of one set of pictures."""

    layers: list[Signature]
    colors: Tensor
    embeddings: Tensor


def backbone_findings(
    backbone: Backbone, now: Pictures, before: Pictures, training: Pictures, prompts: Sequence[str]
) -> dict[str, BackboneFinding]:
    """Of the pictures without a trigger and of every style.

    Args:
        now: BASE, NO_TRIGGER and every style -> a picture for each prompt.
        before: the same styles by the museum before; empty without one.
        training: style -> its training pictures, where they are at hand.
    """
    seen = {name: _see(backbone, pictures) for name, pictures in now.items()}
    earlier = {name: _see(backbone, pictures) for name, pictures in before.items() if name in now}
    taught = {name: _see(backbone, pictures) for name, pictures in training.items()}
    references = backbone.prompt_embeddings(prompts)
    base = seen[BASE]
    references = base.embeddings if references is None else references
    styles = [name for name in now if name not in (BASE, NO_TRIGGER)]
    found = {}
    for name in (NO_TRIGGER, *styles):
        drawn, own, then = seen[name], taught.get(name), earlier.get(name)
        closeness = _closeness(drawn, own, base)
        was = _closeness(then, own, base) if then else None
        moved: float | None
        if name == NO_TRIGGER:
            moved = _mean([_moved(drawn, base, seen[style]) for style in styles])
        else:
            moved = _moved(drawn, then, base) if then else None
        found[name] = BackboneFinding(
            closeness=closeness,
            colors=color_closeness(drawn.colors, own.colors, base.colors) if own else None,
            margin=_margin(drawn, own, [taught[other] for other in taught if other != name], base),
            kept=min(1.0, closeness / was) if closeness is not None and was and was >= MEASURABLE else None,
            moved=moved,
            content=agreement(drawn.embeddings, references, prompts),
            diversity=diversity(drawn.embeddings, base.embeddings),
        )
    return found


def _see(backbone: Backbone, pictures: Sequence[Image.Image]) -> _Seen:
    features: Features = backbone.features(pictures)
    return _Seen([map_signature(layer) for layer in features.maps], color_histogram(pictures), features.embeddings)


def _closeness(drawn: _Seen, own: _Seen | None, base: _Seen) -> float | None:
    if own is None:
        return None
    return _mean([style_score(*layers) for layers in zip(drawn.layers, own.layers, base.layers, strict=True)])


def _moved(now: _Seen, then: _Seen, base: _Seen) -> float:
    return _mean([statistics_shift(*layers) for layers in zip(now.layers, then.layers, base.layers, strict=True)])


def _margin(drawn: _Seen, own: _Seen | None, others: list[_Seen], base: _Seen) -> float | None:
    """Mean over layers of (nearest other - own) / (base to own)."""
    if own is None or not others:
        return None
    parts = []
    for i, mine in enumerate(own.layers):
        whole = distance(base.layers[i], mine)
        nearest = min(distance(drawn.layers[i], other.layers[i]) for other in others)
        parts.append((nearest - distance(drawn.layers[i], mine)) / whole if whole > 0 else 0.0)
    return _mean(parts)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def color_histogram(pictures: Sequence[Image.Image]) -> Tensor:
    """(216,) float64 that sums to 1: the mean over pictures of how their pixels spread over 6 x 6 x 6 colors."""
    total = torch.zeros(_COLOR_STEPS**3, dtype=torch.float64)
    weights = torch.tensor([_COLOR_STEPS**2, _COLOR_STEPS, 1])
    for picture in pictures:
        steps = ((to_tensor(picture).flatten(1) + 1) / 2 * _COLOR_STEPS).long().clamp(max=_COLOR_STEPS - 1)
        counts = torch.bincount((steps * weights[:, None]).sum(dim=0), minlength=len(total)).double()
        total += counts / counts.sum() / len(pictures)
    return total


def color_closeness(drawn: Tensor, style: Tensor, base: Tensor) -> float:
    """clip(1 - h(drawn, style) / h(base, style), 0, 1) with the Hellinger distance h of histograms (K,) that sum to 1.

    The form of `style_score` for colors. Where the base has the style's colors: 1 if the drawn pictures do, else 0.
    """
    off, whole = ((a.sqrt() - style.sqrt()).norm().item() for a in (drawn, base))
    if whole == 0:
        return float(off == 0)
    return min(1.0, max(0.0, 1 - off / whole))


def agreement(embeddings: Tensor, references: Tensor, prompts: Sequence[str]) -> float | None:
    """How often a picture is more like the reference of its own prompt than like that of another prompt, 0..1.

    Embeddings and references lose their mean first, so that what all pictures have in common, a style, has no say.
    A draw counts half; 0.5 is chance. Source: ours; the area under the ROC curve, over pairs.

    Args:
        embeddings, references: (N, D), one of each for each prompt.
    Returns:
        None where all prompts are the same.
    """
    centered = [normalize(part.double() - part.double().mean(dim=0), dim=1) for part in (embeddings, references)]
    likeness = centered[0] @ centered[1].T
    other = torch.tensor([[a != b for b in prompts] for a in prompts])
    if not other.any():
        return None
    lead = likeness.diagonal()[:, None] - likeness
    wins = (lead > 0).double() + (lead == 0).double() / 2
    return wins[other].mean().item()


def diversity(embeddings: Tensor, base: Tensor) -> float:
    """Mean cosine distance between two of the pictures / the same of the base's pictures; 1 where both are none.

    Args:
        embeddings, base: (N, D) of what is drawn, and of what the base draws for the same prompts.
    """
    spreads = []
    for part in (embeddings, base):
        unit = normalize(part.double(), dim=1)
        spreads.append((1 - unit @ unit.T).clamp(min=0).sum().item())
    if spreads[1] <= 1e-9:
        return float(spreads[0] <= 1e-9)
    return spreads[0] / spreads[1]
