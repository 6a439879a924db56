"""Loading a base does not load packages that nothing here uses."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from museum_plugin.config.arguments import POCKET_MODEL

SCRIPT = """
import importlib.util, sys
from pathlib import Path
from museum_plugin.base.load import load_base
load_base(Path(sys.argv[1]))
import diffusers.optimization
print([name for name in ("peft", "bitsandbytes", "xformers") if name in sys.modules])
print(importlib.util.find_spec("bitsandbytes") is not None)
"""


@pytest.mark.slow
def test_a_base_is_loaded_without_what_it_does_not_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(POCKET_MODEL)], capture_output=True, text=True, check=True, timeout=240
    )
    installed = find_spec("bitsandbytes") is not None
    assert done.stdout.splitlines() == ["[]", str(installed)], "and who asks for one later finds it"
