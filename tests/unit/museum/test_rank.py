"""Another rank for a museum: a larger one changes nothing, a smaller one as little as can be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from museum_plugin.__main__ import main
from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.history import history
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.resize import LayerChange, relative_error, resized, with_rank
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.store import content_of, new_museum, open_museum
from museum_plugin.train.museum_file import museum_lock
from tests.tiny_museums import prediction, shake, tiny_museum

CONV = "lora_unet_mid_block_resnets_0_conv1"
LINEAR = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
OWN = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_q"


@pytest.fixture(scope="module")
def content(base: BaseModel) -> MuseumContent:
    """Layers of rank 4, one of rank 6, convolutions of rank 2."""
    modules = dict(target_modules(base, with_text_encoder=False, with_convolutions=True))
    shapes = {key: LayerShape(2, 1.0) if "resnets" in key else LayerShape(4, 1.0) for key in modules}
    shapes[OWN] = LayerShape(6, 3.0)
    museum = new_museum(base, rank=4, alpha=1.0, seed=1, with_text_encoder=False, shapes=shapes)
    shake(museum.network, torch.Generator().manual_seed(0), size=0.3)
    return content_of(museum)


def change(content: MuseumContent, key: str) -> Tensor:
    """The weight change of a layer, in float64, from what the ledger says of its alpha."""
    down, up = (content.lora[f"{key}.lora_{half}.weight"].double().flatten(1) for half in ("down", "up"))
    rank, alpha = content.ledger.network.shape(key)
    assert rank == len(down) == up.shape[1]
    assert content.lora[f"{key}.alpha"].item() == pytest.approx(alpha)
    return alpha / rank * up @ down


def test_a_larger_rank_draws_the_same(base: BaseModel, content: MuseumContent, tmp_path: Path) -> None:
    larger, changes = resized(content, 8, 5)
    assert {c.new_rank for c in changes} == {8, 5}
    assert relative_error(changes) == 0
    predicted = []
    for number, each in enumerate((content, larger)):
        path = tmp_path / f"{number}.safetensors"
        write_museum(path, each, keep_history=0)
        with open_museum(path, base).attached():
            predicted.append(prediction(base))
    assert (predicted[0] - prediction(base)).abs().max() > 1e-2
    torch.testing.assert_close(predicted[1], predicted[0], atol=1e-5, rtol=1e-5)
    for key in content.ledger.network.targets:
        old, new = content.lora[f"{key}.lora_down.weight"], larger.lora[f"{key}.lora_down.weight"]
        assert torch.equal(new[: len(old)], old)


def test_further_rows_begin_so_that_they_can_learn(base: BaseModel, content: MuseumContent) -> None:
    larger, _ = resized(content, 8, None)
    down, up = larger.lora[f"{LINEAR}.lora_down.weight"], larger.lora[f"{LINEAR}.lora_up.weight"]
    assert not up[:, 4:].any()
    begun = LoRANetwork(base, rank=8, alpha=1, seed=0, with_text_encoder=False).layers[LINEAR].down
    assert down[4:].abs().min() > 0
    assert down[4:].abs().max() <= begun.abs().max() * 1.1
    assert down[4:].std().item() == pytest.approx(begun.std().item(), rel=0.3)
    other = larger.lora[f"{OWN}.lora_down.weight"]
    assert not torch.equal(down[6:], other[6:])  # each layer draws its own numbers
    assert torch.equal(resized(content, 8, None)[0].lora[f"{LINEAR}.lora_down.weight"], down)


def test_the_scale_of_the_old_part_is_kept(content: MuseumContent) -> None:
    record = resized(content, 8, 3)[0].ledger.network
    assert (record.rank, record.alpha) == (8, 2.0)
    assert record.shape(OWN) == (8, 4.0)
    assert record.shape(CONV) == (3, 1.5)
    assert resized(content, 8, None)[0].ledger.network.shape(CONV) == (2, 1.0)


def test_a_smaller_rank_is_the_nearest_one(content: MuseumContent) -> None:
    smaller, changes = resized(content, 2, 1)
    told = {c.key: c for c in changes}
    assert {LINEAR, OWN, CONV} <= set(told)
    lost, all_of_it = 0.0, 0.0
    for key in (LINEAR, OWN, CONV):
        full, left = change(content, key), change(smaller, key)
        values = torch.linalg.svdvals(full)
        expected = values[told[key].new_rank :].square().sum().sqrt() / values.square().sum().sqrt()
        assert expected > 0.01
        assert told[key].error == pytest.approx(expected.item(), rel=1e-6)
        assert ((full - left).norm() / full.norm()).item() == pytest.approx(expected.item(), rel=1e-4)
        lost, all_of_it = lost + (full - left).square().sum().item(), all_of_it + full.square().sum().item()
    three = [told[key] for key in (LINEAR, OWN, CONV)]
    assert relative_error(three) == pytest.approx((lost / all_of_it) ** 0.5, rel=1e-4)


def test_raising_and_lowering_again_is_as_before(content: MuseumContent) -> None:
    back, changes = resized(resized(content, 8, None)[0], 6, None)
    assert max(c.error for c in changes) < 1e-7
    for key in (LINEAR, OWN, CONV):
        torch.testing.assert_close(change(back, key), change(content, key), atol=1e-6, rtol=1e-4)


def test_what_carries_nothing_begins_anew() -> None:
    """Else rows of zeros beside columns of zeros could never learn again."""
    up = torch.zeros(5, 4)
    up[:, 0] = torch.arange(5.0)
    down, new_up, (energy, lost) = with_rank(torch.eye(4, 6), up, 2, "seed")
    assert (energy, lost) == (30.0, 0.0)
    torch.testing.assert_close(new_up @ down, up @ torch.eye(4, 6))
    assert not new_up[:, 1].any()
    assert down[1].abs().min() > 0
    down, new_up, (energy, lost) = with_rank(torch.eye(4, 6), torch.zeros(5, 4), 2, "seed")
    assert (energy, lost, new_up.any().item()) == (0.0, 0.0, False)
    assert down.abs().min() > 0
    assert not torch.equal(with_rank(torch.eye(4, 6), up, 2, "other")[0][1], down[1])


def test_layers_that_changed_nothing_lose_nothing() -> None:
    assert LayerChange("a", 4, 2, 0.0, 0.0).error == 0
    assert relative_error([]) == 0


def test_flags_describe_the_layers_of_an_even_museum_and_not_of_others(base: BaseModel, content: MuseumContent) -> None:
    assert resized(content_of(tiny_museum(base, "ink")), 3, None)[0].ledger.network.shaped_by == ""
    assert resized(content, 3, None)[0].ledger.network.shaped_by == "resize"


@pytest.mark.parametrize(
    ("rank", "conv_rank", "told"),
    [(2, None, "has rank 2 already"), (5000, None, "allowed: 1 to"), (3, 2, "no layers on convolutions")],
)
def test_nonsense_is_refused(base: BaseModel, rank: int, conv_rank: int | None, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        resized(content_of(tiny_museum(base, "ink")), rank, conv_rank)


@pytest.fixture
def museum(base: BaseModel, tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    write_museum(path, content_of(tiny_museum(base, "ink")), keep_history=0)
    return path


def test_the_command_keeps_the_version_before(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = museum.read_bytes()
    assert main(["resize", str(museum), "--rank=4"]) == 0
    out = capsys.readouterr().out
    assert "layers can learn more now; what they do is unchanged" in out
    assert "teach it with --network_dim 4 --network_alpha 2" in out
    (kept,) = history(museum)
    assert kept.path.read_bytes() == before
    assert main(["resize", str(museum), "--rank=1"]) == 0
    out = capsys.readouterr().out
    assert "4 -> 1" in out
    assert "of all of them together: " in out
    assert read_museum(museum).ledger.styles[0].name == "ink"
    assert main(["rollback", str(museum)]) == 0
    assert read_museum(museum).ledger.network.rank == 4


def test_the_command_writes_elsewhere(museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, other = museum.read_bytes(), tmp_path / "other.safetensors"
    assert main(["resize", str(museum), "--rank=4", f"--output={other}"]) == 0
    assert (museum.read_bytes() == before, read_museum(other).ledger.network.rank) == (True, 4)
    assert "rollback" not in capsys.readouterr().out
    assert main(["resize", str(museum), "--rank=3", f"--output={other}"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_command_refuses_in_one_line(museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = museum.read_bytes()
    with museum_lock(museum):
        assert main(["resize", str(museum), "--rank=4"]) == 5
    for words, code, told in (
        (["--rank=0"], 2, "1 or more"),
        ([], 2, "--rank"),
        (["--rank=2"], 2, "rank 2 already"),
    ):
        assert main(["resize", str(museum), *words]) == code
        assert told in capsys.readouterr().err.splitlines()[-1]
    assert main(["resize", str(tmp_path / "gone.safetensors"), "--rank=2"]) == 5
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["mine.safetensors"]
    assert museum.read_bytes() == before
