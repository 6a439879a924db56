"""Importing diffusers without the packages that it loads whole only to know that they are there."""

from __future__ import annotations

import importlib
import sys

_NOT_NEEDED = ("bitsandbytes", "peft", "xformers")
"""Quantisation, adapters and attention of others: a second of processor time, and nothing here uses them."""


def import_diffusers(module: str = "diffusers.models.unets.unet_2d_condition") -> None:
    """Import a module of diffusers; it takes the packages above for not installed.

    To be called before any import of diffusers, of a submodule too. Whoever imports one of them later gets it.
    """
    if module in sys.modules:
        return
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: Python's own sign for "not there"
    try:
        importlib.import_module(module)
    finally:
        for name in hidden:
            del sys.modules[name]
