"""Low-rank layers beside the frozen layers of the base."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from museum_plugin.base.family import Family
from museum_plugin.base.load import BaseModel
from museum_plugin.losses.weight_regularization import LowRank
from museum_plugin.museum.dropout import Dropout, LayerDropout
from museum_plugin.museum.keys import kohya_key, original_path
from museum_plugin.museum.shape import LayerShape

_TRANSFORMER = ("Transformer2DModel",)
_RESIDUAL = ("ResnetBlock2D", "Downsample2D", "Upsample2D")
_TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class LoRALayer(nn.Module):
    """delta(x) = scale * up(down(x)) for one Linear or convolution; up starts at zero, so delta does too.

    On a convolution, `down` has its kernel, stride and padding, and `up` is 1x1. Source: LoRA (arXiv:2106.09685) and
    LoCon, initialised as in sd-scripts.
    """

    def __init__(self, module: nn.Module, rank: int, alpha: float, rng: torch.Generator) -> None:
        super().__init__()
        self.kernel = tuple(module.weight.shape[2:])
        """() for a Linear, (1, 1) or (3, 3) for a convolution."""
        self._moves = {"stride": module.stride, "padding": module.padding} if self.kernel else {}
        out_features, in_features = module.weight.shape[0], module.weight[0].numel()
        bound = 1 / math.sqrt(in_features)  # kaiming_uniform with a = sqrt(5)
        self.down = nn.Parameter(torch.empty(rank, in_features).uniform_(-bound, bound, generator=rng))
        """(rank, in), a convolution's kernel flattened into `in`."""
        self.up = nn.Parameter(torch.zeros(out_features, rank))
        self.alpha = alpha

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.down.shape[0]

    def forward(self, x: Tensor, dropout: LayerDropout | None = None) -> Tensor:
        """The change this layer adds to its module's output for input x.

        Args:
            dropout: what is left out between down and up in this step; None leaves nothing out.
        """
        down, up = self.down.to(x.dtype), self.up.to(x.dtype) * self.scale
        if not self.kernel:
            inner = F.linear(x, down)
            return F.linear(inner if dropout is None else dropout(inner), up)
        inner = F.conv2d(x, down.view(len(down), -1, *self.kernel), **self._moves)
        return F.conv2d(inner if dropout is None else dropout(inner), up.view(*up.shape, 1, 1))

    def low_rank(self) -> LowRank:
        """The weight change as factors; that of a convolution with its kernel flattened."""
        return LowRank(up=self.up, down=self.down, scale=self.scale)


class LoRANetwork(nn.Module):
    """The LoRA of a whole base model: one layer for each targeted module, by kohya key."""

    def __init__(
        self,
        base: BaseModel,
        *,
        rank: int,
        alpha: float,
        seed: int,
        with_text_encoder: bool,
        shapes: Mapping[str, LayerShape] | None = None,
    ) -> None:
        """Make a LoRA that changes nothing yet.

        Args:
            rank: of every layer, unless `shapes` says otherwise; so is alpha.
            seed: decides the start of every `down`, each by its own key.
            with_text_encoder: also put layers on the text encoders.
            shapes: exactly the layers to make, by kohya key; keys that the base does not have are passed over.
        """
        super().__init__()
        self.rank, self.alpha = rank, alpha
        found = dict(target_modules(base, with_text_encoder=with_text_encoder, with_convolutions=shapes is not None))
        if shapes is None:
            shapes = dict.fromkeys(found, LayerShape(rank, alpha))
        self.targets = {key: module for key, module in found.items() if key in shapes}
        self.layers: dict[str, LoRALayer] = {}
        for key, module in self.targets.items():
            layer = LoRALayer(module, *shapes[key], _rng_for(seed, key)).to(module.weight.device)
            self.add_module(key, layer)
            self.layers[key] = layer
        self.enabled = True
        self.dropout = Dropout()
        self._dropping: int | None = None

    def freeze(self, prefixes: Iterable[str]) -> None:
        """Keep the layers whose keys begin so as they are."""
        beginnings = tuple(prefixes)
        for key, layer in self.layers.items():
            if key.startswith(beginnings):
                layer.requires_grad_(False)

    @contextmanager
    def dropping(self, number: int) -> Iterator[None]:
        """While inside, `dropout` is at work; outside, as in teachers and verdicts, nothing is ever left out.

        What is left out depends on the number and each layer's key alone, so that a second forward pass of gradient
        checkpointing leaves out the same.
        """
        self._dropping = number if self.dropout.is_on else None
        try:
            yield
        finally:
            self._dropping = None

    @contextmanager
    def attached(self) -> Iterator[int]:
        """While inside, every targeted module adds its layer's change to its output.

        Yields:
            how many modules were attached.
        """
        handles = [module.register_forward_hook(self._hook(key)) for key, module in self.targets.items()]
        try:
            yield len(handles)
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, key: str) -> Callable[..., Tensor | None]:
        layer = self.layers[key]

        def add_delta(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if not self.enabled:
                return None
            if self._dropping is None:
                return output + layer(inputs[0])
            dropout = LayerDropout(self.dropout, f"{self._dropping}/{key}")
            return None if dropout.skips_module else output + layer(inputs[0], dropout)

        return add_delta

    def tensors(self) -> dict[str, Tensor]:
        """The LoRA under kohya's tensor names; the same storage as the parameters."""
        named = {}
        for key, layer in self.layers.items():
            down, up = layer.down.detach(), layer.up.detach()
            if layer.kernel:
                down, up = down.view(len(down), -1, *layer.kernel), up.view(*up.shape, 1, 1)
            named[f"{key}.lora_down.weight"], named[f"{key}.lora_up.weight"] = down, up
            named[f"{key}.alpha"] = torch.tensor(float(layer.alpha))
        return named

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take the values of `tensors()` of a network of the same targets and rank."""
        for key, layer in self.layers.items():
            layer.down.copy_(tensors[f"{key}.lora_down.weight"].view_as(layer.down))
            layer.up.copy_(tensors[f"{key}.lora_up.weight"].view_as(layer.up))


class Networks(Protocol):
    """Whatever has the modules of a base model: the model, or its networks without numbers."""

    @property
    def family(self) -> Family: ...
    @property
    def unet(self) -> nn.Module: ...
    @property
    def text_encoders(self) -> tuple[nn.Module, ...]: ...


def target_modules(
    base: Networks, *, with_text_encoder: bool, with_convolutions: bool = False
) -> Iterator[tuple[str, nn.Module]]:
    """kohya key and module of everything a LoRA goes on, as in sd-scripts.

    U-Net: every Linear and 1x1 convolution inside a Transformer2DModel; with convolutions, also every Linear and
    convolution of its ResNet blocks and samplers. Text encoders: those of attention and MLP. Blocks are known by the
    names of their classes, which are the same in diffusers and in sd-scripts.
    """
    blocks = _TRANSFORMER + (_RESIDUAL if with_convolutions else ())
    for block_path, block in base.unet.named_modules():
        if type(block).__name__ in blocks:
            for path, module in block.named_modules():
                if isinstance(module, nn.Linear) or (
                    isinstance(module, nn.Conv2d) and (module.kernel_size == (1, 1) or with_convolutions)
                ):
                    whole = f"{block_path}.{path}"
                    yield kohya_key("unet", original_path(whole) if base.family.original_names else whole), module
    if with_text_encoder:
        for part, encoder in zip(base.family.text_parts, base.text_encoders, strict=True):
            for path, module in encoder.named_modules():
                if isinstance(module, nn.Linear) and path.rsplit(".", 1)[-1] in _TEXT_LAYERS:
                    yield kohya_key(part, path), module


def _rng_for(seed: int, key: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
