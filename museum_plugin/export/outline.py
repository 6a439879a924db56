"""Names, shapes and strings of a LoRA file, sorted as clients sort them. No tensor is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open

from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.metadata import LEDGER_KEY, PLAIN_KEY

LAYER = re.compile(r"(lora_(?:unet|te|te1|te2)_\w+)\.(?:lora_down\.weight|lora_up\.weight|alpha)")
_TABLE_AS_LAYER = re.compile(r"lora_te[12]?_text_model_embeddings_")
_TABLE = re.compile(
    r"text_encoders\.(\w+)\.transformer\.text_model\.embeddings\.token_embedding\.(lora_up|lora_down)\.weight"
)


@dataclass(frozen=True)
class Outline:
    """All of a LoRA file but its numbers."""

    name: str
    """Of the file, without suffix."""
    shapes: Mapping[str, tuple[int, ...]]
    """Name of each tensor -> its shape."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    triggers: tuple[str, ...] = ()
    """The phrases that should work."""
    header_bytes: int = 0
    """0: not known."""

    @cached_property
    def layers(self) -> frozenset[str]:
        """kohya's keys of LoRA layers, the embedding table excepted."""
        return frozenset(key for key in self.shapes if LAYER.fullmatch(key) and key not in self.table_as_layer)

    @cached_property
    def modules(self) -> frozenset[str]:
        """The modules of the layers."""
        return frozenset(key.partition(".")[0] for key in self.layers)

    @cached_property
    def table_as_layer(self) -> frozenset[str]:
        """Keys that take an embedding table for a layer."""
        return frozenset(key for key in self.shapes if _TABLE_AS_LAYER.match(key))

    @cached_property
    def bundle(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Name of each bundled embedding -> leaf -> shape."""
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for key, shape in self.shapes.items():
            if key.startswith("bundle_emb."):
                name, _, leaf = key.removeprefix("bundle_emb.").partition(".")
                found.setdefault(name, {})[leaf] = shape
        return found

    @cached_property
    def tables(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Text encoder -> lora_up, lora_down -> shape, of patches on its embedding table."""
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for key, shape in self.shapes.items():
            if match := _TABLE.fullmatch(key):
                found.setdefault(match[1], {})[match[2]] = shape
        return found

    @property
    def has_plain_words(self) -> bool:
        """Whether its layers make the plain words of the triggers work."""
        return PLAIN_KEY in self.metadata

    @property
    def family(self) -> str:
        """sd1 | sd2 | sdxl, by the keys and what the metadata say."""
        by_keys = any(key.startswith(("lora_te1_", "lora_te2_", "lora_unet_input_blocks_")) for key in self.layers)
        if by_keys or self.metadata.get("ss_base_model_version", "").startswith("sdxl"):
            return "sdxl"
        return "sd2" if self.metadata.get("ss_v2") == "True" else "sd1"


def read_outline(path: Path) -> Outline:
    """The outline of a file on the disk; it reads the header only.

    Raises:
        MuseumFileError: missing, or no safetensors file.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = dict(file.metadata() or {})
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        with path.open("rb") as raw:
            header_bytes = int.from_bytes(raw.read(8), "little")
    except (SafetensorError, OSError) as error:
        raise MuseumFileError(f"{path}: cannot be read: {error}") from error
    return Outline(path.stem, shapes, metadata, triggers_of(metadata), header_bytes)


def triggers_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The phrases of a museum file that have a slot, from its ledger; none where there is no ledger."""
    try:
        styles = json.loads(metadata[LEDGER_KEY])["styles"]
        return tuple(record["trigger"] for record in styles if record["words"])
    except (ValueError, KeyError, TypeError):
        return ()
