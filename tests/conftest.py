"""What every test stands on: one thread, no network, a home of its own."""

from __future__ import annotations

import os
import shutil
import signal
import site
import tempfile
from pathlib import Path

import pytest

_HOME = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before a test module imports torch or the hub client, which read it only once."""
    home = Path(tempfile.mkdtemp(prefix="museum-tests-"))
    config.stash[_HOME] = home
    os.environ.update(
        {
            "PYTHONUSERBASE": site.getuserbase(),  # packages installed for the user stay in sight of child processes
            "HOME": str(home),
            "USERPROFILE": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "HF_HOME": str(home / "huggingface"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "WANDB_MODE": "offline",
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",  # for the scripts that tests start; torch of this process is told below
            "PYTHONUTF8": "1",
        }
    )
    if hasattr(signal, "SIGHUP"):  # `nohup` would have the scripts that tests start ignore it too
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    import hypothesis
    import torch

    torch.set_num_threads(1)
    # A loaded machine is no failure, and a failure shows again on the next run.
    hypothesis.settings.register_profile("house", deadline=None, database=None, derandomize=True)
    hypothesis.settings.load_profile("house")


def pytest_unconfigure(config: pytest.Config) -> None:
    home = config.stash.get(_HOME, None)
    if home is not None:
        shutil.rmtree(home, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
