"""The museum in memory."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from museum_plugin.base.load import BaseModel
from museum_plugin.museum.triggers import single_token
from tests.tiny_museums import WORDS, hooks, prediction, tiny_museum

PROMPTS = ("a red cat", f"a red cat in {WORDS['ink']} style", f"{WORDS['neon']}")


def predictions(base: BaseModel) -> torch.Tensor:
    return torch.cat([prediction(base, prompt) for prompt in PROMPTS])


@pytest.mark.parametrize("with_text_encoder", [False, True])
def test_a_disabled_museum_is_the_bare_base(base: BaseModel, with_text_encoder: bool) -> None:
    bare = predictions(base)
    museum = tiny_museum(base, "ink", "neon", with_text_encoder=with_text_encoder)
    assert torch.equal(predictions(base), bare), "nothing acts before it is attached"
    with museum.attached():
        taught = predictions(base)
        assert all(not torch.equal(a, b) for a, b in zip(taught, bare, strict=True))
        with museum.disabled():
            assert torch.equal(predictions(base), bare)
            with museum.disabled():
                pass
            assert torch.equal(predictions(base), bare), "leaving the inner one does not enable the museum"
        assert torch.equal(predictions(base), taught)
    assert torch.equal(predictions(base), bare)


def test_attaching_leaves_no_hook_even_after_an_error(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")
    with suppress(ZeroDivisionError), museum.attached():
        assert hooks(base) == 120 + 1
        raise ZeroDivisionError
    assert hooks(base) == 0


def test_only_an_open_slot_has_parameters(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")
    opened = museum.slots.open("neon", (WORDS["neon"],), (single_token(base, WORDS["neon"]),), "cat")
    assert museum.open_parameters("neon") == list(opened.vectors)
    assert museum.open_parameters("ink") == museum.open_parameters(None) == museum.open_parameters("unknown") == []
    assert museum.styles() == ("ink",)
    assert (museum.phrase("neon"), museum.phrase(None)) == (WORDS["neon"], "")


def test_numbers_that_are_not_finite_are_seen(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")
    assert museum.is_finite()
    museum.slots.slots["ink"].vectors[0][0, 0] = torch.nan
    assert not museum.is_finite()
    museum = tiny_museum(base, "ink")
    with torch.no_grad():
        next(iter(museum.network.layers.values())).up[0, 0] = torch.inf
    assert not museum.is_finite()
