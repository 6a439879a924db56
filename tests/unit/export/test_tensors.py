from __future__ import annotations

import pytest
import torch

from museum_plugin.export.tensors import (
    CLIP_VOCABULARY,
    bundle_key,
    bundled,
    sidecar,
    table_key,
    table_patch,
    with_even_alphas,
)


def test_a_table_patch_by_hand() -> None:
    learned, base = torch.tensor([[3.0, 4.0], [5.0, 6.0]]), torch.tensor([[1.0, 1.0], [0.5, 0.0]])
    found = table_patch("clip_l", (3, 1), learned, base, vocabulary=5)
    key = "text_encoders.clip_l.transformer.text_model.embeddings.token_embedding"
    up, down = found[f"{key}.lora_up.weight"], found[f"{key}.lora_down.weight"]
    assert set(found) == {f"{key}.lora_up.weight", f"{key}.lora_down.weight"}
    assert up.tolist() == [[0, 0], [0, 1], [0, 0], [1, 0], [0, 0]]
    assert down.tolist() == [[2, 3], [4.5, 6]]
    table = torch.arange(10.0).view(5, 2)
    table[[3, 1]] = base
    after = table + up @ down
    assert torch.equal(after[[3, 1]], learned)
    assert torch.equal(after[[0, 2, 4]], table[[0, 2, 4]])


def test_a_table_is_as_long_as_clips_unless_told() -> None:
    vectors = torch.ones(1, 4)
    assert table_patch("clip_g", (7,), vectors, vectors)[f"{table_key('clip_g')}.lora_up.weight"].shape == (49408, 1)
    assert CLIP_VOCABULARY == 49408


@pytest.mark.parametrize(
    ("ids", "rows", "said"),
    [((1,), 2, r"1 ids, learned \(2, 4\)"), ((1, 9), 2, "token 9 lies beyond a table of 9 rows")],
)
def test_a_table_patch_that_does_not_fit_is_refused(ids: tuple[int, ...], rows: int, said: str) -> None:
    vectors = torch.zeros(rows, 4)
    with pytest.raises(ValueError, match=said):
        table_patch("clip_l", ids, vectors, vectors, vocabulary=9)
    with pytest.raises(ValueError, match="base"):
        table_patch("clip_l", (1, 2), torch.zeros(2, 4), torch.zeros(2, 5), vocabulary=9)


def test_with_one_encoder_a_bundle_has_one_tensor_and_with_two_the_leaf_names_it() -> None:
    one, two = torch.ones(2, 4), torch.full((2, 6), 2.0)
    alone = bundled({"nlwx rctid": {"clip_h": one}})
    assert list(alone) == ["bundle_emb.nlwx rctid.dora_scale"]
    both = bundled({"nlwx": {"clip_l": one, "clip_g": two}})
    assert list(both) == ["bundle_emb.nlwx.clip_l", "bundle_emb.nlwx.clip_g"]
    assert torch.equal(both["bundle_emb.nlwx.clip_g"], two)
    assert bundle_key("a", "clip_l", ("clip_l",)) == "bundle_emb.a.dora_scale"


def test_a_sidecar_is_named_as_each_family_reads_it() -> None:
    one, two = torch.ones(2, 4), torch.full((2, 6), 2.0)
    assert list(sidecar({"clip_l": one})) == list(sidecar({"clip_h": one})) == ["emb_params"]
    assert torch.equal(sidecar({"clip_l": one})["emb_params"], one)
    assert list(sidecar({"clip_l": one, "clip_g": two})) == ["clip_l", "clip_g"]


def test_even_alphas_change_no_weight_and_touch_what_needs_it_alone() -> None:
    rng, lora = torch.Generator().manual_seed(0), {}
    alphas = {"lora_te_a": 3.0, "lora_te_b": 1.0, "lora_te_c": 1.0, "lora_unet_a": 3.0, "lora_unet_b": 3.0}
    for key, alpha in alphas.items():
        lora[f"{key}.lora_down.weight"] = torch.randn(2, 4, generator=rng)
        lora[f"{key}.lora_up.weight"] = torch.randn(4, 2, generator=rng)
        lora[f"{key}.alpha"] = torch.tensor(alpha)
    found = with_even_alphas(lora)
    assert found.keys() == lora.keys()
    assert {found[f"{key}.alpha"].item() for key in alphas if key.startswith("lora_te")} == {1.0}
    torch.testing.assert_close(found["lora_te_a.lora_up.weight"], 3 * lora["lora_te_a.lora_up.weight"])
    changed = {name for name in lora if not torch.equal(found[name], lora[name])}
    assert changed == {"lora_te_a.lora_up.weight", "lora_te_a.alpha"}
