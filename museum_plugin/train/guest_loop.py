"""The steps of a loop that is not ours, from the inside: terms join the host's loss where it calls `backward`."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, ParamSpec, TypeVar

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn

from museum_plugin.base.encode import token_embedding
from museum_plugin.config.schema import TOKEN_LENGTHS, RunConfig
from museum_plugin.errors import MuseumError, NotFiniteError
from museum_plugin.museum.museum import Museum
from museum_plugin.train.guest import GuestStyle, Seen
from museum_plugin.train.nonfinite import gradients_are_finite, not_finite_gradients
from museum_plugin.train.step import number_for, rng_for, some_of

log = logging.getLogger("museum")
_NOTHING_KEPT = (
    "Nothing of this step was kept, and no file was changed. A lower learning rate or bf16 usually cures it."
)


P = ParamSpec("P")
R = TypeVar("R")


def ending_the_host(work: Callable[P, R]) -> Callable[P, R]:
    """What a user can mend ends the host with one message instead of a traceback."""

    @functools.wraps(work)
    def done(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except MuseumError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            raise SystemExit(error.exit_code) from None

    return done


class StepCounter(nn.Module):
    """Optimizer steps that are done; part of a state, so that a resumed run draws what an unbroken one would."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


class GuestLoop:
    """The host's loop as the museum sees it: begin_step, the host's forward pass, backward, perhaps the optimizer."""

    def __init__(self, run: RunConfig, museum: Museum) -> None:
        """Of the run's one style; `style` and `parameters` are set before the first step."""
        self.counter = StepCounter()
        self.style: GuestStyle | None = None
        self.parameters: list[nn.Parameter] = []
        """What the optimizer moves."""
        self.checkpointing = False
        """Whether the U-Net keeps no activations."""
        self._run, self._museum = run, museum
        self._step, self._reading = ExitStack(), ExitStack()
        self._host_runs = False
        self._seen: Seen | None = None
        self._micro = 0
        self._sums: dict[str, Tensor] = {}
        self._counted = 0

    @property
    def steps(self) -> int:
        """Optimizer steps that are done."""
        return int(self.counter.steps)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While inside, the host's networks are the museum's, and every backward pass of a step has the terms in it."""
        base = self._museum.base
        with ExitStack() as held:
            held.callback(self._step.close)
            held.callback(self._reading.close)
            held.enter_context(self._museum.attached())
            held.enter_context(_joined(self))
            for encoder in base.text_encoders:
                held.callback(token_embedding(encoder).register_forward_pre_hook(self._before_reading).remove)
            held.callback(getattr(base.unet, "host", base.unet).register_forward_hook(self._see).remove)
            yield

    def begin_step(self) -> None:
        """The host's forward pass of a micro-step comes next."""
        self._step.close()  # of a step that was broken off
        self._step.enter_context(self._museum.network.dropping(number_for(*self._key())))
        self._host_runs, self._seen = True, None
        self._reading.close()

    @property
    def in_step(self) -> bool:
        """Whether a micro-step was begun whose backward pass has not come yet."""
        return self._host_runs

    def with_terms(self, accelerator: Accelerator, loss: Tensor) -> Tensor:
        """The host's loss and the weighted terms.

        Raises:
            NotFiniteError: something of it is not finite.
        """
        self._host_runs = False
        self._reading.close()
        if not bool(torch.isfinite(loss)):
            raise NotFiniteError(f"style {self._name!r}: the trainer's own loss is not finite. {_NOTHING_KEPT}")
        if self._seen is None or self.style is None:
            return loss
        with accelerator.autocast():
            number = self.steps * PartialState().num_processes + self._key()[-1]
            found = self.style.penalties(self._seen, rng_for(*self._key()), number, checkpointing=self.checkpointing)
        bad = [name for name, value in found.items() if not torch.isfinite(value)]
        if bad:
            raise NotFiniteError(f"style {self._name!r}: {', '.join(bad)} is not finite. {_NOTHING_KEPT}")
        for name, value in found.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
        self._counted += 1
        return torch.stack([loss, *(value.to(loss) for value in found.values())]).sum()

    def after_backward(self, accelerator: Accelerator) -> None:
        """The gradients of a micro-step are there.

        Raises:
            NotFiniteError: one of a whole step is not finite; with fp16 the scaler leaves such a step out itself.
        """
        self._step.close()
        self._seen, self._micro = None, self._micro + 1
        if not accelerator.sync_gradients:
            return
        for term, _ in self.style.terms.values() if self.style else ():
            term.after_backward(self._museum)
        if accelerator.scaler is None and not gradients_are_finite(self.parameters):
            bad = ", ".join(not_finite_gradients(self._museum, self._name)[:4])
            raise NotFiniteError(f"style {self._name!r}: the gradient is not finite ({bad}). {_NOTHING_KEPT}")
        self._micro = 0
        self.counter.steps += 1

    def say_terms(self) -> None:
        """Say the mean of each term since the last time."""
        if self._counted:
            means = (f"{name} {value.item() / self._counted:.3g}" for name, value in self._sums.items())
            log.info("terms of %r, means of %d steps: %s", self._name, self._counted, ", ".join(means) or "none")
        self._sums, self._counted = {}, 0

    @property
    def _name(self) -> str:
        return str(self._run.styles[0].name)

    def _key(self) -> tuple[int, str, int, int]:
        """What all random numbers of a micro-step follow from; the same as in our own loop."""
        state = PartialState()
        return self._run.training.seed, self._name, self.steps, self._micro * state.num_processes + state.process_index

    def _before_reading(self, _table: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """The host reads its captions: the slot is learned there, in some of them left out.

        A host that freezes the text encoder reads without gradients; its own `with` sets the mode back.
        """
        if not self._host_runs:
            return
        torch.set_grad_enabled(True)
        share = self._run.slot.dropout
        if share:
            chunks = self._run.base.max_token_length // TOKEN_LENGTHS[0]
            marks = some_of(len(inputs[0]) // chunks, share, Random(f"{number_for(*self._key())}/plain"))
            self._reading.close()
            self._reading.enter_context(self._museum.slots.plain(marks))

    def _see(self, _unet: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if self._host_runs and torch.is_grad_enabled():
            self._seen = Seen(inputs[0].detach(), inputs[1], getattr(output, "sample", output))


@contextmanager
def _joined(loop: GuestLoop) -> Iterator[None]:
    """While inside, `accelerator.backward` of a step of this loop is that of the loss with the terms.

    There they are scaled, accumulated and clipped as the host's own loss is.
    """
    plain = Accelerator.backward

    @ending_the_host
    def backward(accelerator: Accelerator, loss: Tensor, **options: Any) -> None:
        if not loop.in_step:
            plain(accelerator, loss, **options)
            return
        plain(accelerator, loop.with_terms(accelerator, loss), **options)
        loop.after_backward(accelerator)

    Accelerator.backward = backward
    try:
        yield
    finally:
        Accelerator.backward = plain
