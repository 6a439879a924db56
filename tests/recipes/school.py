"""What the recipe tests teach, and how: tiny pictures, the real command line, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor

import train_museum
from museum_plugin.museum.file import read_museum
from museum_plugin.pocket.scenes import Scene, draw
from museum_plugin.pocket.styles import STYLES
from tests.tiny_models import TINY_SLOT_WORDS

ROOT = Path(__file__).parents[2]
TRIGGERS = {"ink": TINY_SLOT_WORDS[0], "neon": TINY_SLOT_WORDS[1]}
SCENES = (Scene("cat", "red", "meadow"), Scene("fish", "blue", "snow"))
SIZE = 64
STEPS = 3
QUICK = (
    f"--resolution={SIZE}",
    f"--max_train_steps={STEPS}",
    "--train_batch_size=2",
    "--network_dim=2",
    "--replay_per_style=2",
    "--replay_neutral=2",
    "--replay_batch_size=2",
    "--replay_sampling_steps=2",
    "--sample_steps=1",
    "--learning_rate=0.01",
    "--caption_extension=.txt",
    "--gate=off",
)
"""The flags of a run of a second or two."""


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of the one error message, without what a progress bar wrote."""
        lines = self.err.replace("\r", "\n").splitlines()
        first = next((i for i, line in enumerate(lines) if line.startswith("error: ")), len(lines))
        return lines[first:]


def write_pictures(folder: Path, style: str, count: int = 4) -> Path:
    """Pictures of a style with their captions; two scenes, each drawn several times."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        scene = SCENES[i % 2]
        picture = STYLES[style](draw(scene, Random(i)), Random(i))
        picture.resize((SIZE, SIZE)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(scene.caption(), encoding="utf-8")
    return folder


def write_dataset(file: Path, folders: Mapping[str, Path], extra: str = "") -> Path:
    """A dataset file with one style for each folder; `extra` goes into every [[datasets]]."""
    tables = [
        f'[[datasets]]\nstyle = "{style}"\ntrigger = "{TRIGGERS.get(style, "auto")}"\n{extra}\n'
        f"[[datasets.subsets]]\nimage_dir = '{folder}'\n"
        for style, folder in folders.items()
    ]
    file.write_text("\n".join(tables), encoding="utf-8")
    return file


@dataclass(frozen=True)
class School:
    """A base, the pictures of two styles, and a folder of its own for results."""

    base: Path
    pictures: Path
    folder: Path

    @property
    def museum(self) -> Path:
        return self.folder / "out" / "mine.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "out" / "mine.unfinished.pt"

    def dataset(self, *styles: str, extra: str = "") -> Path:
        """A dataset file of the given styles, in this order."""
        folders = {style: self.pictures / style for style in styles}
        return write_dataset(self.folder / f"{'-'.join(styles)}.toml", folders, extra)

    def command(self, *flags: str, styles: Sequence[str] = ("ink",), museum: bool = True) -> list[str]:
        """A command line without the program's name; later flags win."""
        words = [f"--pretrained_model_name_or_path={self.base}", f"--output_dir={self.folder / 'out'}", *QUICK]
        prompts = self.folder / "prompts.txt"
        prompts.write_text("a red cat", encoding="utf-8")
        words.append(f"--sample_prompts={prompts}")  # one picture in each column of the grid
        words.append(f"--museum={self.museum}" if museum else "--output_name=mine")
        if not any(flag.startswith(("--dataset_config", "--train_data_dir")) for flag in flags):
            words.append(f"--dataset_config={self.dataset(*styles)}")
        return [*words, *flags]

    def numbers(self) -> dict[str, Tensor]:
        """All tensors of the file, the slots under the names of their styles."""
        return tensors_of(self.museum)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """All tensors of a museum file, the slots under the names of their styles."""
    content = read_museum(path)
    slots = {f"slot {style}": vectors["clip_l"] for style, vectors in content.slots.items()}
    return {**content.lora, **slots}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of any number of two sets of tensors."""
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def teach_here(words: Sequence[str]) -> int:
    """`train_museum.py` in this process; the exit code."""
    return train_museum.main(list(words))


def start(words: Sequence[str], err: Path, *launcher: str) -> subprocess.Popen[str]:
    """`train_museum.py` in a process of its own, which writes its errors into a file."""
    command = [sys.executable, *launcher, str(ROOT / "train_museum.py"), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with err.open("w", encoding="utf-8") as file:
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=file, encoding="utf-8", cwd=err.parent
        )


def teach_apart(words: Sequence[str], err: Path, *launcher: str) -> Done:
    """`train_museum.py` in a process of its own, to its end."""
    process = start(words, err, *launcher)
    try:
        out, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    return Done(process.returncode, out, err.read_text(encoding="utf-8"))
