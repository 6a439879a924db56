"""The frozen model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from museum_plugin.config.schema.require import require

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "fp8", "int8", "nf4")
"""What the frozen U-Net's weights may be stored in."""
COMPILING_BACKENDS = ("inductor", "aot_eager", "eager")
"""What may compile; "eager" compiles nothing and "aot_eager" hardly anything: they show where an error comes from."""
DYNAMO_BACKENDS = (
    *COMPILING_BACKENDS, "aot_ts_nvfuser", "nvprims_nvfuser", "cudagraphs", "ofi", "fx2trt", "onnxrt", "tensort",
    "ipex", "tvm",
)  # fmt: skip
"""Names that sd-scripts knows."""
AUTO = "auto"
"""What a run finds out itself when it starts."""
SWAPPED_AT_ONCE = 2
"""Swapped blocks that are on the card at the same time: the one in use and the next."""
TOKEN_LENGTHS = (75, 150, 225)
"""Tokens of a prompt that can be read: one to three chunks of 75."""


@dataclass(frozen=True)
class BaseConfig:
    """The frozen model that is taught."""

    path: Path
    """A checkpoint file in the original layout, a diffusers folder, or a name on the hub (owner/name)."""
    v2: bool | None = None
    """Whether the base is expected to be of SD2; None = whatever it is."""
    v_parameterization: bool | None = None
    """Whether the base is expected to predict v; None = whatever it does."""
    vae: Path | None = None
    """A VAE in the place of the base's own: a file, or a diffusers folder."""
    tokenizer_cache_dir: Path | None = None
    """Where the tokenizer of a checkpoint file is looked for, after the folder beside the file."""
    mixed_precision: str = "no"
    """no | fp16 | bf16: what the forward pass computes in; LoRA and slots stay float32."""
    precision: str = "auto"
    """fp32 | fp16 | bf16 | fp8 | int8 | nf4: what the frozen U-Net's weights are stored in; auto = as it computes."""
    gradient_checkpointing: bool = False
    cpu_offload_checkpointing: bool = False
    """Whether what gradient checkpointing keeps waits for the backward pass in host memory."""
    blocks_to_swap: int | str = 0
    """How many of the U-Net's blocks have their weights in host memory, from where they come when they are used; auto =
    as many as the card has no room for."""
    channels_last: bool = False
    """Whether the U-Net's convolutions keep their numbers channel by channel of each place: often faster."""
    torch_compile: bool = False
    """Whether the blocks of the U-Net's transformers are compiled."""
    dynamo_backend: str = "inductor"
    """What compiles them: inductor | aot_eager | eager."""
    clip_skip: int = 1
    """1 = the text encoder's last layer, 2 = the one before."""
    max_token_length: int = 75
    """Tokens of a caption that are read: 75, 150 or 225."""
    weighted_captions: bool = False
    """Whether `(word:1.2)` in a caption is a weight."""

    def __post_init__(self) -> None:
        require(
            self.mixed_precision in ("no", "fp16", "bf16"),
            f"mixed_precision: found {self.mixed_precision!r}, allowed: no, fp16, bf16",
        )
        self._check_precision()
        self._check_compiling()
        require(
            self.gradient_checkpointing or not self.cpu_offload_checkpointing,
            "cpu_offload_checkpointing: needs gradient_checkpointing, whose tensors it moves",
        )
        swapped = self.blocks_to_swap
        require(
            swapped in (0, AUTO) or (isinstance(swapped, int) and swapped > SWAPPED_AT_ONCE),
            f"blocks_to_swap: found {swapped}, allowed: {AUTO}, 0, or {SWAPPED_AT_ONCE + 1} and more; "
            f"{SWAPPED_AT_ONCE} of the swapped blocks are on the card at any time",
        )
        require(self.clip_skip >= 1, f"clip_skip: found {self.clip_skip}, must be 1 or more")
        require(
            self.max_token_length in TOKEN_LENGTHS,
            f"max_token_length: found {self.max_token_length}, allowed: {', '.join(map(str, TOKEN_LENGTHS))}",
        )

    def _check_precision(self) -> None:
        stored, computed = self.precision, "fp32" if self.mixed_precision == "no" else self.mixed_precision
        require(stored in PRECISIONS, f"base_precision: found {stored!r}, allowed: {', '.join(PRECISIONS)}")
        told = f"base_precision: found {stored!r}, which cannot go with mixed_precision {self.mixed_precision!r}"
        require(stored != "fp32" or computed == "fp32", f"{told}: the U-Net computes in fewer bits; leave it out")
        other_half = stored in ("fp16", "bf16") and computed not in ("fp32", stored)
        require(not other_half, f"{told}: every weight would be rounded twice; leave it out")
        require(
            self.precision in ("auto", "fp32", computed) or not self.channels_last,
            f"base_precision: found {stored!r}, which cannot go with opt_channels_last: a weight made whole again "
            "has no layout of its own; leave one of them out",
        )

    def _check_compiling(self) -> None:
        if not self.torch_compile:
            return
        backends = ", ".join(COMPILING_BACKENDS)
        require(
            self.dynamo_backend in COMPILING_BACKENDS,
            f"dynamo_backend: found {self.dynamo_backend!r}, allowed with torch_compile: {backends}",
        )
        for name, on in (("base_precision", self.stores_small), ("blocks_to_swap", self.blocks_to_swap != 0)):
            require(
                not on,
                f"torch_compile: cannot go with {name}: such weights are made anew in each pass, which cannot be "
                "compiled; leave one of them out",
            )

    @property
    def swapped(self) -> int:
        """Blocks that are swapped; none as long as that is to be found out."""
        return self.blocks_to_swap if isinstance(self.blocks_to_swap, int) else 0

    @property
    def stores_small(self) -> bool:
        """Whether the U-Net's weights take fewer bits than it computes in."""
        computed = "fp32" if self.mixed_precision == "no" else self.mixed_precision
        return self.precision not in ("auto", computed)
