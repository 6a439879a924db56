"""What the previous museum predicts on the new style's pictures under the triggers of old ones."""

from __future__ import annotations

from collections import Counter

import torch

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.data.captions import with_trigger
from museum_plugin.methods.bank import Anchor, BankPlan
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache


@torch.no_grad()
def anchors_on_new_pictures(museum: Museum, plan: BankPlan, states: StateCache, first_group: int) -> list[Anchor]:
    """Anchors for each old style: `per_style` of the pictures in turn, each at as many noise levels as a drawing.

    Only pictures of the commonest size take part, since a batch of the bank has one size.

    Args:
        museum: attached.
        first_group: number of the first old style's group; the others follow.
    """
    denoiser, device = Denoiser(museum.base), museum.base.device
    sizes = Counter(tuple(latent.shape) for latent, _ in plan.pictures)
    pictures = [(x, shows) for x, shows in plan.pictures if tuple(x.shape) == sizes.most_common(1)[0][0]]
    if not pictures:
        return []
    steps = plan.sampling.steps
    times = [round((k + 0.5) * denoiser.timesteps / steps) for k in range(steps)]
    anchors: list[Anchor] = []
    for number, style in enumerate(museum.styles()):
        rng = torch.Generator().manual_seed(plan.seed + 104_729 * (number + 1))
        for i in range(plan.per_style):
            latent, shows = pictures[i % len(pictures)]
            prompt = with_trigger(shows, museum.phrase(style))
            for at in range(0, steps, plan.batch_size):
                t = torch.tensor(times[at : at + plan.batch_size], device=device)
                noise = torch.randn(len(t), *latent.shape, generator=rng).to(device)
                noisy = denoiser.add_noise(latent.to(device).expand_as(noise), noise, t)
                pred = denoiser.predict(noisy, t, states.states([prompt] * len(t)))
                rows = zip(noisy.cpu(), t.tolist(), pred.half().cpu(), strict=True)
                anchors += [Anchor(first_group + number, prompt, x, time, p, new_picture=True) for x, time, p in rows]
    return anchors
