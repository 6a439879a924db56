"""The diffusion process around the U-Net: the only place that runs it and the only place that watches its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from museum_plugin.base.load import BaseModel
from museum_plugin.base.text_states import TextStates
from museum_plugin.errors import BaseModelError


class Denoiser:
    """Noise, predictions and targets of one base model. t is (B,) integer, 0 .. T-1."""

    def __init__(self, base: BaseModel) -> None:
        if base.prediction_type not in ("epsilon", "v_prediction"):
            raise BaseModelError(f"prediction type {base.prediction_type!r} of the base model is not supported")
        self._unet = base.unet
        self._alpha_bar = base.alphas_cumprod
        self._latent_factor = base.latent_factor
        self.prediction_type = base.prediction_type

    @property
    def timesteps(self) -> int:
        """T, the number of training timesteps."""
        return len(self._alpha_bar)

    def alpha_bar(self, t: Tensor) -> Tensor:
        """(B,) float32: the share of signal variance left at t."""
        return self._alpha_bar.to(t.device)[t]

    def _signal_and_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        level = self.alpha_bar(t).view(-1, 1, 1, 1)
        return level.sqrt(), (1 - level).sqrt()

    def add_noise(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """noisy = sqrt(alpha_bar) latents + sqrt(1 - alpha_bar) noise, (B, C, h, w). Source: DDPM, eq. 4."""
        signal, sigma = self._signal_and_noise(t)
        return signal * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the U-Net should predict: the noise, or v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) latents."""
        if self.prediction_type == "epsilon":
            return noise
        signal, sigma = self._signal_and_noise(t)
        return signal * noise - sigma * latents

    def predict_x0(self, noisy: Tensor, pred: Tensor, t: Tensor) -> Tensor:
        """The clean latents (B, C, h, w) that a prediction implies."""
        signal, sigma = self._signal_and_noise(t)
        if self.prediction_type == "epsilon":
            return (noisy - sigma * pred) / signal
        return signal * noisy - sigma * pred

    def predict(self, noisy: Tensor, t: Tensor, text: TextStates, sizes: Tensor | None = None) -> Tensor:
        """The U-Net's prediction (B, C, h, w), float32.

        Args:
            sizes: (B, 6) pixels, see `picture_sizes`; where the family's U-Net takes none they change nothing. None:
                whole pictures of the size of the latents.
        """
        dtype = self._unet.dtype
        text = text.to(dtype)
        if text.pooled is None:
            return self._unet(noisy.to(dtype), t, text.states).sample.float()
        sizes = self.whole_sizes(noisy) if sizes is None else sizes
        added = {"text_embeds": text.pooled, "time_ids": sizes}
        return self._unet(noisy.to(dtype), t, text.states, added_cond_kwargs=added).sample.float()

    def whole_sizes(self, latents: Tensor) -> Tensor:
        """(B, 6) float32: what `predict` takes for pictures of the latents' own size, of which nothing is cut off."""
        height, width = (side * self._latent_factor for side in latents.shape[2:])
        row = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=latents.device)
        return row.expand(len(latents), -1)

    def feature_blocks(self) -> tuple[str, ...]:
        """Names of the blocks that can be watched, from the input to the output."""
        down = tuple(f"down_blocks.{i}" for i in range(len(self._unet.down_blocks)))
        return (*down, "mid_block", *(f"up_blocks.{i}" for i in range(len(self._unet.up_blocks))))

    @contextmanager
    def watch(self, blocks: tuple[str, ...]) -> Iterator[list[Tensor]]:
        """Collect the outputs of blocks in every forward pass inside; the list is cleared by whoever reads it.

        Yields:
            a list that grows by one (B, C, h, w) tensor for each block and pass, in the order of execution.
        """
        features: list[Tensor] = []

        def keep(_module: torch.nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            features.append(output[0] if isinstance(output, tuple) else output)

        handles = [self._unet.get_submodule(name).register_forward_hook(keep) for name in blocks]
        try:
            yield features
        finally:
            for handle in handles:
                handle.remove()
