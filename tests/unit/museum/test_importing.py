"""Another program's LoRA becomes a museum that changes the base as the LoRA did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from museum_plugin.__main__ import main
from museum_plugin.base.load import BaseModel
from museum_plugin.museum.file import read_museum, write_museum
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.store import content_of, museum_file_bytes, open_museum
from tests.tiny_models import write_tiny_base
from tests.tiny_museums import prediction, shake, tiny_museum

CONV = "lora_unet_mid_block_resnets_0_conv1"
LINEAR = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
Import = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def source(base: BaseModel) -> LoRANetwork:
    """A LoCon with ranks and alphas of three kinds, on text encoder and convolutions too."""
    modules = dict(target_modules(base, with_text_encoder=True, with_convolutions=True))
    shapes = dict.fromkeys(modules, LayerShape(3, 1.5))
    shapes.update({key: LayerShape(2, 0.3) for key in modules if "resnets" in key})
    shapes[LINEAR] = LayerShape(5, 7.0)
    found = LoRANetwork(base, rank=3, alpha=1.5, seed=0, with_text_encoder=True, shapes=shapes)
    shake(found, torch.Generator().manual_seed(3), size=0.1)
    return found


@pytest.fixture
def lora(source: LoRANetwork, tmp_path: Path) -> Path:
    path = tmp_path / "other.safetensors"
    save_file({name: tensor.clone().contiguous() for name, tensor in source.tensors().items()}, path)
    return path


@pytest.fixture
def run(base_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Import:
    """The command as a user gives it: exit code, output, errors."""

    def command(lora: Path, *words: str, museum: Path | None = None) -> tuple[int, str, str]:
        capsys.readouterr()
        place = f"--museum={museum or tmp_path / 'mine.safetensors'}"
        code = main(["import", str(lora), place, f"--pretrained_model_name_or_path={base_folder}", *words])
        spoken = capsys.readouterr()
        return code, spoken.out, spoken.err

    return command


def change(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    """alpha / rank * up @ down of one module, in float64."""
    down, up = (tensors[f"{key}.lora_{half}.weight"].double().flatten(1) for half in ("down", "up"))
    return tensors[f"{key}.alpha"].double() / len(down) * up @ down


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_weight_is_changed_as_the_source_does(
    run: Import, base: BaseModel, lora: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    given = {name: tensor.to(dtype) for name, tensor in load_file(lora).items()}
    save_file(given, lora)
    assert run(lora)[0] == 0

    found = read_museum(tmp_path / "mine.safetensors")
    keys = {name.partition(".")[0] for name in given}
    assert set(found.ledger.network.targets) == keys
    for key in keys:
        assert torch.equal(change(found.lora, key), change(given, key))
    museum = open_museum(tmp_path / "mine.safetensors", base)
    assert len(museum.network.layers) == len(keys)


def test_the_museum_draws_as_the_lora(run: Import, base: BaseModel, source: LoRANetwork, lora: Path) -> None:
    bare = prediction(base)
    with source.attached():
        expected = prediction(base)
    assert (expected - bare).abs().max() > 1e-3

    assert run(lora, "--style=old", "--trigger=zk  Woman")[0] == 0

    museum = open_museum(lora.with_name("mine.safetensors"), base)
    with museum.attached():
        assert torch.equal(prediction(base), expected)


def test_what_the_ledger_says(run: Import, base: BaseModel, base_folder: Path, lora: Path) -> None:
    metadata = {"ss_steps": "700", "ss_num_train_images": "12", "modelspec.author": "Ann", "ss_seed": "1"}
    save_file(load_file(lora), lora, metadata)
    code, out, _ = run(lora, "--style=old", "--trigger=zk  Woman")
    assert code == 0
    assert "teach it with --network_dim 3 --network_alpha 1.5" in out
    assert "style old, trigger zk Woman: kept" in out

    content = read_museum(lora.with_name("mine.safetensors"))
    ledger = content.ledger
    assert ledger.base.fingerprint == base.fingerprint
    assert (ledger.network.rank, ledger.network.alpha, ledger.network.shaped_by) == (3, 1.5, "import")
    assert ledger.network.shape(LINEAR) == (5, 7.0)
    assert ledger.network.shape(CONV)[0] == 2
    (style,) = ledger.styles
    assert (style.name, style.trigger, style.words, style.steps, style.pictures) == ("old", "zk Woman", (), 700, 12)
    assert style.reserved_words == ("zk", "woman")
    assert style.settings["pretrained_model_name_or_path"] == str(base_folder)
    assert style.extra["imported"]["file"] == "other.safetensors"
    assert content.metadata == {"modelspec.author": "Ann"}
    museum = open_museum(lora.with_name("mine.safetensors"), base)
    assert (museum.phrase("old"), museum.styles()) == ("zk Woman", ("old",))
    write_museum(lora.with_name("again.safetensors"), content_of(museum), keep_history=0)
    assert read_museum(lora.with_name("again.safetensors")).ledger == ledger


def test_without_a_style_nothing_is_said_to_be_kept(run: Import, lora: Path) -> None:
    code, out, _ = run(lora)
    assert (code, "nothing keeps what the LoRA draws" in out) == (0, True)
    assert read_museum(lora.with_name("mine.safetensors")).ledger.styles == ()


def test_modules_without_a_place_are_left_out_only_when_asked(
    run: Import, lora: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = {"lora_unet_conv_in.lora_down.weight": torch.ones(1, 4, 3, 3), "lora_unet_conv_in.lora_up.weight": None}
    more["lora_unet_conv_in.lora_up.weight"] = torch.ones(8, 1, 1, 1)
    save_file({**load_file(lora), **more}, lora)
    code, _, err = run(lora)
    assert code == 2
    assert "have no place in a museum, such as lora_unet_conv_in; --partly leaves them out" in err
    assert not (tmp_path / "mine.safetensors").exists()
    assert run(lora, "--partly")[0] == 0
    assert "left out: 1 of its modules" in caplog.text
    assert LINEAR in read_museum(tmp_path / "mine.safetensors").ledger.network.targets


def _of_another_width(lora: Path) -> None:
    tensors = load_file(lora)
    tensors[f"{LINEAR}.lora_down.weight"] = torch.ones(5, 99)
    save_file(tensors, lora)


def _of_another_family(lora: Path) -> None:
    key = "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q"
    save_file({f"{key}.lora_{half}.weight": torch.ones(2, 2) for half in ("down", "up")}, lora)


def _of_a_family_with_some_modules_of_the_same_name(lora: Path) -> None:
    _of_another_family(lora)
    save_file({**load_file(lora), f"{LINEAR}.lora_down.weight": torch.ones(1, 99),
               f"{LINEAR}.lora_up.weight": torch.ones(8, 1)}, lora)  # fmt: skip


def _with_tokens(lora: Path) -> None:
    save_file({**load_file(lora), "bundle_emb.zk.string_to_param": torch.ones(2, 16)}, lora)


@pytest.mark.parametrize(
    ("spoil", "words", "told"),
    [
        (_of_another_width, (), "changes a weight of shape"),
        (_of_another_family, (), "none of its modules has a place here"),
        (_of_a_family_with_some_modules_of_the_same_name, (), "it was made for another kind of model"),
        (_with_tokens, (), "it brings learned tokens along, such as zk, which have no place in a museum"),
        (lambda lora: lora.write_bytes(lora.read_bytes()[:500]), (), "cut short"),
        (lambda lora: lora.unlink(), (), "no file"),
        (lambda lora: None, ("--style=old",), "--style: goes with --trigger"),
        (lambda lora: None, ("--trigger=zk",), "--trigger: goes with --style"),
        (lambda lora: None, ("--style=old", "--trigger= "), "--trigger: found ' '"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing_behind(
    run: Import, lora: Path, tmp_path: Path, spoil: Callable[[Path], None], words: tuple[str, ...], told: str
) -> None:
    spoil(lora)
    before = sorted(tmp_path.iterdir())
    code, out, err = run(lora, *words)
    assert (code, out, told in err) == (2, "", True), err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_museum_is_neither_imported_nor_replaced(run: Import, base: BaseModel, lora: Path, tmp_path: Path) -> None:
    other = tmp_path / "museum.safetensors"
    write_museum(other, content_of(tiny_museum(base, "ink")), keep_history=0)
    before = other.read_bytes()
    code, _, err = run(other)
    assert (code, "this is a museum already" in err) == (2, True)
    code, _, err = run(lora, museum=other)
    assert (code, "is there already" in err) == (2, True)
    assert other.read_bytes() == before


def test_a_base_of_another_kind_or_none_is_refused(lora: Path, tmp_path: Path) -> None:
    command = ["import", str(lora), f"--museum={tmp_path / 'mine.safetensors'}", "--pretrained_model_name_or_path"]
    assert main([*command, str(tmp_path / "gone")]) == 4
    v = write_tiny_base(tmp_path / "v", prediction_type="v_prediction")
    assert main([*command, str(v)]) == 0
    assert read_museum(tmp_path / "mine.safetensors").ledger.base.prediction_type == "v_prediction"


def test_a_state_of_an_imported_museum_holds_it(run: Import, base: BaseModel, lora: Path) -> None:
    assert run(lora)[0] == 0
    museum: Museum = open_museum(lora.with_name("mine.safetensors"), base)
    assert len(museum_file_bytes(museum, "mine")) > 1000
    assert museum_file_bytes(tiny_museum(base), "mine") == b""


def test_tokens_that_a_lora_brings_along_are_left_out_when_asked(run: Import, lora: Path, tmp_path: Path) -> None:
    _with_tokens(lora)
    assert run(lora, "--partly")[0] == 0
    assert LINEAR in read_museum(tmp_path / "mine.safetensors").ledger.network.targets
