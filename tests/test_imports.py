"""Importing is cheap and leaves no trace: no network, no optional package, no output, no changed global state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = ("torchvision", "xformers", "bitsandbytes", "wandb")
HEAVY = ("torch", "numpy", "diffusers", "transformers", "accelerate", "safetensors", "PIL")

# Runs twice, each time in a process of its own: the first run tells which other modules ours load; the second loads
# those beforehand, so that what it sees is the doing of our modules and not of what they import.
PROBE = """
import contextlib, importlib, io, json, logging, os, random, signal, socket, sys, traceback, warnings
package, modules, absent, beforehand = json.loads(sys.stdin.read())
sys.path.insert(0, os.getcwd())
for name in absent:
    sys.modules[name] = None

def refuse(*args, **kwargs):
    raise OSError("an import asked for the network")

socket.socket.connect = socket.getaddrinfo = refuse

def state():
    import numpy, torch
    from PIL import Image, ImageFile
    return {
        "torch threads": torch.get_num_threads(),
        "torch default dtype": torch.get_default_dtype(),
        "torch default device": torch.get_default_device(),
        "torch gradient mode": torch.is_grad_enabled(),
        "torch random state": torch.get_rng_state().tolist(),
        "torch deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch matmul precision": torch.get_float32_matmul_precision(),
        "torch tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "numpy random state": repr(numpy.random.get_state()),
        "random state": random.getstate(),
        "environment": dict(os.environ),
        "working folder": os.getcwd(),
        "sys.path": list(sys.path),
        "sys.excepthook": sys.excepthook,
        "warning filters": list(warnings.filters),
        "root logger": (logging.root.level, list(logging.root.handlers)),
        "signal handlers": (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)),
        "PIL limits": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
    }

def load(name):
    try:
        importlib.import_module(name)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno})"]
    return []

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for name in beforehand:
        load(name)
faults = []
for name in modules:
    spoken = io.StringIO()
    before = state()
    with contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(spoken):
        found = load(name)
    after = state()
    if spoken.getvalue():
        found.append(f"prints {spoken.getvalue().strip()!r}")
    found += [f"changes {key}" for key in before if before[key] != after[key]]
    faults += [f"import {name}: {fault}" for fault in found]
others = [name for name, module in sys.modules.items() if module and name.split(".")[0] not in (package, "__main__")]
print(json.dumps([faults, others]))
"""


def run_python(source: str, folder: Path, text: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=folder, input=text, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_of(root: Path, package: str) -> list[str]:
    """Every module of a package, those that hold a command's `__main__` too."""
    paths = sorted((root / package).rglob("*.py"))
    parts = [path.relative_to(root).with_suffix("").parts for path in paths]
    return [".".join(names[:-1] if names[-1] == "__init__" else names) for names in parts]


def import_faults(root: Path, package: str) -> list[str]:
    """One line for each module that does not import, or that does more than define things."""
    beforehand: list[str] = []
    for _ in range(2):
        request = json.dumps([package, modules_of(root, package), OPTIONAL, beforehand])
        faults, beforehand = json.loads(run_python(PROBE, root, request))
    return faults


def loaded_by(statement: str) -> set[str]:
    """The heavy packages that a statement loads in a fresh interpreter."""
    return set(json.loads(run_python(f"import json, sys\n{statement}\nprint(json.dumps(list(sys.modules)))", ROOT)))


def test_every_module_imports_quietly_without_network_or_optional_packages() -> None:
    faults = import_faults(ROOT, "museum_plugin")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "statement",
    ["import museum_plugin", "import museum_plugin.errors", "import museum_plugin.config.arguments"],
)
def test_reading_the_configuration_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) & set(HEAVY) == set()


def test_the_networks_are_loaded_no_earlier_than_a_model() -> None:
    """They take seconds, and what is wrong with a run is told before."""
    assert (
        loaded_by("import museum_plugin.train.loop, museum_plugin.train.report") & {"diffusers", "transformers"}
        == set()
    )


START = """
from museum_plugin.base.load import load_base
from museum_plugin.config.arguments import parse_command_line
from museum_plugin.train.start import check_run
run = parse_command_line(["--config_file=presets/demo.toml", "--dataset_config=examples/styles/ink.toml"])
check_run(run)
load_base(run.base.path)
"""


def test_a_run_leaves_out_the_packages_that_diffusers_would_load_in_vain() -> None:
    found = loaded_by(START)
    assert "diffusers" in found
    assert found & {"bitsandbytes", "peft", "xformers"} == set()


def test_a_heavy_import_would_be_seen() -> None:
    assert "numpy" in loaded_by("import numpy")


PLANTED = {
    "prints": ("print('hello')", "prints 'hello'"),
    "warns": ("import sys; sys.stderr.write('careful')", "prints 'careful'"),
    "seeds": ("import torch; torch.manual_seed(1)", "changes torch random state"),
    "threads": ("import torch; torch.set_num_threads(7)", "changes torch threads"),
    "exports": ("import os; os.environ['PLANTED'] = 'x'", "changes environment"),
    "silences": ("import warnings; warnings.filterwarnings('ignore', 'planted')", "changes warning filters"),
    "needs": ("import torchvision", "ModuleNotFoundError"),
    "calls": ("import urllib.request as r; r.urlopen('http://127.0.0.1:9')", "asked for the network"),
    "leaves": ("raise SystemExit(0)", "SystemExit"),
    "quiet": ("import torch, numpy, json", None),
}


@pytest.fixture(scope="module")
def planted_faults(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("planted")
    (root / "planted").mkdir()
    for name, (source, _) in {"__init__": ("", ""), **PLANTED}.items():
        (root / "planted" / f"{name}.py").write_text(source, encoding="utf-8")
    return import_faults(root, "planted")


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(planted_faults: list[str], name: str) -> None:
    expected = PLANTED[name][1]
    mine = [fault for fault in planted_faults if fault.startswith(f"import planted.{name}: ")]
    assert len(mine) == (expected is not None)
    assert all(str(expected) in fault for fault in mine)
