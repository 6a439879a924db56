"""Low-rank layers beside the frozen layers of the base."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from museum_plugin.base.load import BaseModel
from museum_plugin.losses.weight_regularization import LowRank
from museum_plugin.museum.keys import kohya_key

_TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class LoRALayer(nn.Module):
    """delta(x) = scale * up(down(x)) for one Linear or 1x1 convolution; up starts at zero, so delta does too.

    Source: LoRA (arXiv:2106.09685), initialised as in sd-scripts.
    """

    def __init__(self, module: nn.Module, rank: int, alpha: float, rng: torch.Generator) -> None:
        super().__init__()
        self.kernel = tuple(module.weight.shape[2:])
        """() for a Linear, (1, 1) for a convolution."""
        out_features, in_features = module.weight.shape[:2]
        bound = 1 / math.sqrt(in_features)  # kaiming_uniform with a = sqrt(5)
        self.down = nn.Parameter(torch.empty(rank, in_features).uniform_(-bound, bound, generator=rng))
        self.up = nn.Parameter(torch.zeros(out_features, rank))
        self.alpha = alpha

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.down.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """The change this layer adds to its module's output for input x."""
        down, up = self.down.to(x.dtype), self.up.to(x.dtype) * self.scale
        if not self.kernel:
            return F.linear(F.linear(x, down), up)
        return F.conv2d(F.conv2d(x, down.view(*down.shape, 1, 1)), up.view(*up.shape, 1, 1))

    def low_rank(self) -> LowRank:
        """The weight change as factors."""
        return LowRank(up=self.up, down=self.down, scale=self.scale)


class LoRANetwork(nn.Module):
    """The LoRA of a whole base model: one layer for each targeted module, by kohya key."""

    def __init__(self, base: BaseModel, *, rank: int, alpha: float, seed: int, with_text_encoder: bool) -> None:
        """Make a LoRA that changes nothing yet.

        Args:
            seed: decides the start of every `down`, each by its own key.
            with_text_encoder: also put layers on the text encoders.
        """
        super().__init__()
        self.rank, self.alpha = rank, alpha
        self.targets = dict(target_modules(base, with_text_encoder=with_text_encoder))
        self.layers: dict[str, LoRALayer] = {}
        for key, module in self.targets.items():
            layer = LoRALayer(module, rank, alpha, _rng_for(seed, key)).to(module.weight.device)
            self.add_module(key, layer)
            self.layers[key] = layer
        self.enabled = True

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
            return output + layer(inputs[0]) if self.enabled else None

        return add_delta

    def tensors(self) -> dict[str, Tensor]:
        """The LoRA under kohya's tensor names; the same storage as the parameters."""
        named = {}
        for key, layer in self.layers.items():
            for part, value in (("lora_down", layer.down), ("lora_up", layer.up)):
                named[f"{key}.{part}.weight"] = value.detach().view(*value.shape, *layer.kernel)
            named[f"{key}.alpha"] = torch.tensor(float(layer.alpha))
        return named

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take the values of `tensors()` of a network of the same targets and rank."""
        for key, layer in self.layers.items():
            layer.down.copy_(tensors[f"{key}.lora_down.weight"].view_as(layer.down))
            layer.up.copy_(tensors[f"{key}.lora_up.weight"].view_as(layer.up))


def target_modules(base: BaseModel, *, with_text_encoder: bool) -> Iterator[tuple[str, nn.Module]]:
    """kohya key and module of everything a LoRA goes on, as in sd-scripts.

    U-Net: every Linear and 1x1 convolution inside a Transformer2DModel. Text encoders: those of attention and MLP.
    """
    from diffusers.models.transformers.transformer_2d import Transformer2DModel  # takes seconds to load

    for block_path, block in base.unet.named_modules():
        if isinstance(block, Transformer2DModel):
            for path, module in block.named_modules():
                if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)):
                    yield kohya_key("unet", f"{block_path}.{path}"), module
    if with_text_encoder:
        for part, encoder in zip(base.family.text_parts, base.text_encoders, strict=True):
            for path, module in encoder.named_modules():
                if isinstance(module, nn.Linear) and path.rsplit(".", 1)[-1] in _TEXT_LAYERS:
                    yield kohya_key(part, path), module


def _rng_for(seed: int, key: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
