"""The blocks of the U-Net's transformers compiled by torch, each for itself.

Compiling a block and not the whole U-Net takes a fraction of the time, since blocks of one width share what is
compiled; sizes of pictures are left open, so that another bucket compiles nothing anew. Text states of another length
or passes without gradients do, once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from os import environ
from typing import Any

import torch

from museum_plugin.errors import ConfigError

_BLOCK = "BasicTransformerBlock"
_VARIANTS = 64
"""Of a block, that are compiled before torch gives up: widths, with and without gradients, with and without LoRA."""
_LONGEST = 200
"""Characters of a compiler's own message."""
_COMPILERS = ("g++", "clang++", "c++", "cl")


def check_compiler(backend: str) -> None:
    """Refuse where the default backend cannot work: it writes Triton for a card, and C++ for a processor.

    Raises:
        ConfigError: names what is missing.
    """
    if backend != "inductor":
        return
    if torch.cuda.is_available():
        if find_spec("triton") is None:
            raise ConfigError("torch_compile: needs the package triton on a card: pip install triton, or leave it out")
    elif not any(shutil.which(name) for name in (environ.get("CXX", ""), *_COMPILERS) if name):
        raise ConfigError("torch_compile: needs a C++ compiler where there is no card (g++), and finds none")


@contextmanager
def compiled(unet: Any, backend: str) -> Iterator[int]:
    """While inside, every block of the transformers is compiled at its first pass.

    Hooks on the modules inside, as a LoRA's, are compiled with them, and looked at before each pass: where others are
    attached, as the museum's of before, the block is compiled for those as well.

    Yields:
        how many blocks.
    Raises:
        ConfigError: a block cannot be compiled, whenever inside it is met.
    """
    import torch._dynamo

    blocks = [module for module in unet.modules() if type(module).__name__ == _BLOCK]
    with torch._dynamo.config.patch(recompile_limit=_VARIANTS, skip_nnmodule_hook_guards=False):
        try:
            for block in blocks:
                block.compile(dynamic=True, backend=backend)
            yield len(blocks)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split())[:_LONGEST]
            raise ConfigError(f"torch_compile: the U-Net could not be compiled; leave it out: {reason}") from error
        finally:
            for block in blocks:
                block._compiled_call_impl = None
