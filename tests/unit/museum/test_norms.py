"""No layer's weight change is larger than allowed."""

from __future__ import annotations

import torch

from museum_plugin.base.load import BaseModel
from museum_plugin.museum.norms import limit_norms
from tests.tiny_museums import tiny_museum


def norms_of(base: BaseModel, largest: float) -> tuple[list[float], list[float], dict[str, torch.Tensor], list[bool]]:
    """Norms before and after in float64, what was found, and whether the direction of each change stayed."""
    network = tiny_museum(base, "ink").network
    before = [layer.scale * layer.up.double() @ layer.down.double() for layer in network.layers.values()]
    found = limit_norms(network, largest)
    after = [layer.scale * layer.up.double() @ layer.down.double() for layer in network.layers.values()]
    kept = [torch.allclose(a / a.norm(), b / b.norm(), atol=1e-5) for a, b in zip(after, before, strict=True)]
    return [b.norm().item() for b in before], [a.norm().item() for a in after], found, kept


def test_large_changes_are_scaled_to_the_limit_and_small_ones_stay(base: BaseModel) -> None:
    before, _, _, _ = norms_of(base, 1e9)
    limit = sorted(before)[len(before) // 2]
    before, after, found, kept = norms_of(base, limit)
    torch.testing.assert_close(torch.tensor(after), torch.tensor(before).clamp(max=limit), atol=1e-5, rtol=1e-5)
    assert all(kept)
    assert found["scaled_keys"].item() == sum(norm > limit * (1 + 1e-6) for norm in before)
    assert abs(found["mean_norm"].item() - sum(after) / len(after)) < 1e-5


def test_nothing_is_touched_below_the_limit(base: BaseModel) -> None:
    museum, same = tiny_museum(base, "ink"), tiny_museum(base, "ink")
    assert limit_norms(museum.network, 1e9)["scaled_keys"] == 0
    pairs = zip(museum.network.parameters(), same.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    fresh = tiny_museum(base)  # every up is zero
    assert limit_norms(fresh.network, 0.1) == {"scaled_keys": torch.tensor(0.0), "mean_norm": torch.tensor(0.0)}
