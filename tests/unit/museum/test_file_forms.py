"""Files for publishing: another precision, no ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from museum_plugin.errors import MuseumFileError, TrainingError
from museum_plugin.museum.file import FileForm, read_museum, write_museum
from tests.unit.museum.museum_files import DOWN, three_styles


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_a_smaller_precision_is_rounded_and_can_be_read(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    content, path = three_styles(), tmp_path / "mine.safetensors"
    write_museum(path, content, keep_history=0, form=FileForm(precision))
    tensors = load_file(path)
    assert {t.dtype for name, t in tensors.items() if not name.endswith(".alpha")} == {dtype}
    assert torch.equal(tensors[DOWN], content.lora[DOWN].to(dtype))
    again = read_museum(path)
    assert again.ledger == content.ledger
    assert torch.equal(again.lora[DOWN], content.lora[DOWN].to(dtype).float())


def test_a_value_too_large_for_the_precision_is_refused(tmp_path: Path) -> None:
    content, path = three_styles(), tmp_path / "mine.safetensors"
    content.lora[DOWN][0] = 1e5
    write_museum(path, content, keep_history=0, form=FileForm("bf16"))
    with pytest.raises(TrainingError, match="not finite"):
        write_museum(path, content, keep_history=0, form=FileForm("fp16"))


def test_without_ledger_it_is_a_lora_as_any_other(tmp_path: Path) -> None:
    content, path = three_styles(), tmp_path / "mine.safetensors"
    write_museum(path, content, keep_history=0, form=FileForm(with_ledger=False))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert {"ss_network_module", "ss_network_dim", "ss_base_model_version", "sshs_model_hash"} <= set(metadata)
    assert not {"museum", "ss_seed", "ss_tag_frequency"} & set(metadata)
    with pytest.raises(MuseumFileError, match="without a museum ledger"):
        read_museum(path)
