"""LoRA files in the spellings of other programs are read as one and the same LoRA."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError
from museum_plugin.museum.keys import kohya_key
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.lora_reading import read_lora, read_lora_file
from museum_plugin.museum.shape import LayerShape
from tests.tiny_museums import shake

QUERY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
OUT = "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONV = "mid_block.resnets.0.conv1"
FC2 = "encoder.layers.1.mlp.fc2"
PATHS = {
    kohya_key("unet", QUERY): ("unet", QUERY),
    kohya_key("unet", OUT): ("unet", OUT),
    kohya_key("unet", CONV): ("unet", CONV),
    kohya_key("te", FC2): ("text_encoder", FC2),
}
Spelling = Callable[[str, str], tuple[str, str]]


@pytest.fixture(scope="module")
def network(base: BaseModel) -> LoRANetwork:
    """Layers of ranks 2 and 3, whose alpha is their rank."""
    keys = [key for key, _ in target_modules(base, with_text_encoder=True, with_convolutions=True) if key in PATHS]
    shapes = {key: LayerShape(2, 2.0) if "conv1" in key else LayerShape(3, 3.0) for key in keys}
    found = LoRANetwork(base, rank=3, alpha=3.0, seed=0, with_text_encoder=True, shapes=shapes)
    shake(found, torch.Generator().manual_seed(3), size=0.1)
    assert len(found.layers) == 4
    return found


def peft(part: str, path: str) -> tuple[str, str]:
    return f"base_model.model.{path}.lora_A.weight", f"base_model.model.{path}.lora_B.weight"


def peft_with_adapter(part: str, path: str) -> tuple[str, str]:
    return f"base_model.model.{path}.lora_A.default.weight", f"base_model.model.{path}.lora_B.default.weight"


def diffusers(part: str, path: str) -> tuple[str, str]:
    return f"{part}.{path}.lora_A.weight", f"{part}.{path}.lora_B.weight"


def diffusers_with_level(part: str, path: str) -> tuple[str, str]:
    path = f"text_model.{path}" if part == "text_encoder" else path
    return f"{part}.{path}.lora.down.weight", f"{part}.{path}.lora.up.weight"


def old_diffusers(part: str, path: str) -> tuple[str, str]:
    if part == "text_encoder":
        return f"{part}.text_model.{path}.lora_linear_layer.down.weight", f"{part}.{path}.lora_linear_layer.up.weight"
    block, _, layer = path.removesuffix(".0").rpartition(".")
    if not layer.startswith("to_"):
        return diffusers(part, path)
    return f"{part}.{block}.processor.{layer}_lora.down.weight", f"{part}.{block}.processor.{layer}_lora.up.weight"


def kohya_without_level(part: str, path: str) -> tuple[str, str]:
    key = f"lora_te_{path.replace('.', '_')}" if part == "text_encoder" else kohya_key("unet", path)
    return f"{key}.lora_down.weight", f"{key}.lora_up.weight"


def spelled(network: LoRANetwork, spelling: Spelling) -> dict[str, Tensor]:
    tensors = network.tensors()
    found = {}
    for key, (part, path) in PATHS.items():
        down, up = spelling(part, path)
        found[down], found[up] = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
    return {name: tensor.clone().contiguous() for name, tensor in found.items()}


SPELLINGS = [peft, peft_with_adapter, diffusers, diffusers_with_level, old_diffusers, kohya_without_level]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_is_the_same_lora(network: LoRANetwork, tmp_path: Path, spelling: Spelling) -> None:
    path = tmp_path / "other.safetensors"
    save_file(spelled(network, spelling), path)
    found = read_lora(path, "import")
    assert set(found) == set(network.layers)
    for key, layer in network.layers.items():
        assert found[key].shape == (len(layer.down), layer.alpha)
        assert torch.equal(found[key].down, layer.down)
        assert torch.equal(found[key].up, layer.up)


def test_text_encoders_go_under_the_names_of_the_family(tmp_path: Path) -> None:
    names = [f"{part}.{FC2}.lora_{half}.weight" for part in ("text_encoder", "text_encoder_2") for half in "AB"]
    save_file({name: torch.ones(2, 2) for name in names}, tmp_path / "a.safetensors")
    found = read_lora(tmp_path / "a.safetensors", "import", ("te1", "te2"))
    assert set(found) == {kohya_key("te1", FC2), kohya_key("te2", FC2)}


def test_half_precision_is_read_as_it_stands(network: LoRANetwork, tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        path = tmp_path / "half.safetensors"
        save_file({name: tensor.to(dtype) for name, tensor in network.tensors().items()}, path)
        found = read_lora(path, "import")
        for key, layer in network.layers.items():
            assert torch.equal(found[key].up, layer.up.to(dtype).float())


def test_settings_of_diffusers_give_the_alphas(network: LoRANetwork, tmp_path: Path) -> None:
    told = {
        "unet.r": 3,
        "unet.lora_alpha": 6,
        "unet.alpha_pattern": {"resnets.0.conv1": 1},
        "text_encoder.lora_alpha": 12,
        "text_encoder.use_rslora": True,
    }
    path = tmp_path / "other.safetensors"
    save_file(spelled(network, diffusers), path, {"lora_adapter_metadata": json.dumps(told)})
    found = read_lora(path, "import")
    assert found[kohya_key("unet", QUERY)].alpha == 6
    assert found[kohya_key("unet", CONV)].alpha == 1
    assert found[kohya_key("te", FC2)].scale == pytest.approx(12 / 3**0.5)


def test_a_folder_of_peft_is_read_with_its_settings(network: LoRANetwork, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a folder without adapter_model.safetensors"):
        read_lora(tmp_path, "import")
    save_file(spelled(network, peft), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 3, "lora_alpha": 24}), encoding="utf-8")
    assert read_lora(tmp_path, "import")[kohya_key("unet", QUERY)].scale == 8
    (tmp_path / "adapter_config.json").write_text("scribble", encoding="utf-8")
    assert read_lora(tmp_path, "import")[kohya_key("unet", QUERY)].scale == 1


KEY = kohya_key("unet", QUERY)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{KEY}.dora_scale", "DoRA"),
        (f"unet.{QUERY}.lora_magnitude_vector", "DoRA"),
        (f"{KEY}.hada_w1_a", "LoHa"),
        (f"{KEY}.lokr_w1", "LoKr"),
        (f"{KEY}.lora_mid.weight", "tucker"),
        (f"{KEY}.oft_blocks", "OFT"),
        (f"{KEY}.diff", "a full change"),
        (f"unet.{QUERY}.lora_B.bias", "a full change"),
        (f"{KEY}.on_input", "IA3"),
        (f"{KEY}.scalar", "use_scalar"),
    ],
)
def test_other_kinds_of_adapters_are_refused_by_name(
    network: LoRANetwork, tmp_path: Path, name: str, told: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({**network.tensors(), name: torch.ones(2, 2)}, path)
    with pytest.raises(ConfigError, match=f"import: .*no plain LoRA: tensor {name} is of .*{told}"):
        read_lora(path, "import")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _not_finite(path: Path) -> None:
    save_file({f"{KEY}.lora_down.weight": torch.tensor([[1.0, torch.nan]])}, path)


def _twice(path: Path) -> None:
    save_file({f"{KEY}.lora_down.weight": torch.ones(2, 3), f"unet.{QUERY}.lora_A.weight": torch.ones(1, 3)}, path)


def _two_ranks(path: Path) -> None:
    save_file({f"{KEY}.lora_down.weight": torch.ones(2, 3), f"{KEY}.lora_up.weight": torch.ones(3, 4)}, path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_cut, "cut short"),
        (_not_finite, r"lora_down.weight holds values that are not finite"),
        (_twice, "stands there twice"),
        (_two_ranks, "up has rank 4, down 2"),
    ],
)
def test_a_spoilt_file_is_refused(
    network: LoRANetwork, tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file(network.tensors(), path)
    spoil(path)
    with pytest.raises(ConfigError, match=told):
        read_lora(path, "import")


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("never run",)


def test_a_pickle_with_code_is_refused_unrun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.pt"
    torch.save({f"{KEY}.alpha": _Code()}, path)
    with pytest.raises(ConfigError, match="would run code when loaded"):
        read_lora(path, "import")
    assert "never run" not in capsys.readouterr().out


def test_the_strings_of_the_header_come_along(network: LoRANetwork, tmp_path: Path) -> None:
    save_file(network.tensors(), tmp_path / "a.safetensors", {"ss_steps": "7"})
    found = read_lora_file(tmp_path / "a.safetensors", "import")
    assert (found.path, found.metadata) == (tmp_path / "a.safetensors", {"ss_steps": "7"})
