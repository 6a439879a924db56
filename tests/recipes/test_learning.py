"""Training learns what it is shown, and the default method keeps what was there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_pictures, encode_prompts
from museum_plugin.base.load import load_base
from museum_plugin.data.images import open_picture, to_tensor
from museum_plugin.losses.denoising import denoising_loss
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum
from museum_plugin.train import loop
from tests.recipes.conftest import Teach
from tests.recipes.school import SCENES, TRIGGERS, School, teach_here, write_dataset, write_pictures


def open_attached(school: School, path: Path) -> Museum:
    return open_museum(path, load_base(school.base))


@torch.no_grad()
def mean_loss(museum: Museum, latent: Tensor, prompt: str) -> float:
    """Over 32 noises and noise levels, the same each time."""
    denoiser, rng = Denoiser(museum.base), torch.Generator().manual_seed(1)
    noise = torch.randn(32, *latent.shape, generator=rng)
    t = torch.randint(denoiser.timesteps, (32,), generator=rng)
    states = encode_prompts(museum.base, [prompt]).repeated(32)
    noisy = denoiser.add_noise(latent.expand_as(noise), noise, t)
    return denoising_loss(denoiser.predict(noisy, t, states), noise).mean().item()


def test_a_picture_is_learned(school: School, teach: Teach) -> None:
    folder = write_pictures(school.folder / "one", "ink", count=1)
    dataset = write_dataset(school.folder / "one.toml", {"ink": folder})
    flags = ["--method=finetune", "--max_train_steps=60", "--cache_latents", "--network_dim=4", "--learning_rate=0.02"]

    assert teach(school.command(*flags, f"--dataset_config={dataset}")).code == 0

    museum = open_attached(school, school.museum)
    latent = encode_pictures(museum.base, to_tensor(open_picture(folder / "0.png"))[None])[0]
    prompt = f"{SCENES[0].caption()} in {TRIGGERS['ink']} style"
    bare = mean_loss(museum, latent, prompt)
    with museum.attached():
        taught = mean_loss(museum, latent, prompt)
    assert taught < 0.9 * bare


@torch.no_grad()
def predictions(museum: Museum) -> dict[str, Tensor]:
    """With the old style's trigger, and without any."""
    rng = torch.Generator().manual_seed(3)
    noisy, t = torch.randn(8, 4, 8, 8, generator=rng), torch.randint(1000, (8,), generator=rng)
    prompts = {"ink": f"a red cat in {TRIGGERS['ink']} style", "no trigger": "a red cat"}
    with museum.attached():
        return {
            name: Denoiser(museum.base).predict(noisy, t, encode_prompts(museum.base, [prompt] * 8))
            for name, prompt in prompts.items()
        }


@pytest.fixture(scope="module")
def moved(
    tiny_base: Path, pictures: Path, taught_ink: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], dict[str, float]]:
    """How far predictions move when a second style is taught with a term of some weight; each run once."""
    known: dict[tuple[str, int], dict[str, float]] = {}

    def measure(term: str, weight: int) -> dict[str, float]:
        key = (term if weight else "", weight)
        if key not in known:
            school = School(tiny_base, pictures, tmp_path_factory.mktemp("locked"))
            school.museum.parent.mkdir()
            shutil.copy(taught_ink(), school.museum)
            old = predictions(open_attached(school, school.museum))
            flags = ["--max_train_steps=10", "--replay_batch_size=4", "--term_weights", f"{term}={weight}"]
            assert teach_here(school.command("--method=finetune", *flags, styles=("neon",))) == 0
            new = predictions(open_attached(school, school.museum))
            known[key] = {name: (new[name] - old[name]).square().mean().item() for name in old}
        return known[key]

    return measure


@pytest.mark.parametrize("term", ["function_lock", "feature_lock", "feature_regularization"])
def test_a_lock_keeps_the_old_style_and_prompts_without_trigger(
    moved: Callable[[str, int], dict[str, float]], term: str
) -> None:
    locked, free = moved(term, 30), moved(term, 0)
    assert locked["ink"] < 0.5 * free["ink"]
    if term != "feature_regularization":
        assert locked["no trigger"] < 0.7 * free["no trigger"]


@pytest.mark.parametrize("style", ["ink", "neon"])
@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        (("--train_batch_size=1",), [[1], [2], [1]]),
        (("--train_batch_size=4",), [[6], [6], [6]]),
        (("--train_batch_size=4", "--replay_apart"), [[4, 2], [4, 2], [4, 2]]),
        (("--train_batch_size=1", "--replay_apart"), [[1], [1, 1], [1]]),
        (("--train_batch_size=1", "--replay_batch_size=3"), [[4], [4], [4]]),
        (("--train_batch_size=1", "--method=finetune"), [[1], [1], [1]]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_no_teacher_runs_in_a_step_and_the_bank_has_a_pass_of_its_own_where_memory_is_short(
    request: pytest.FixtureRequest,
    teach: Teach,
    monkeypatch: pytest.MonkeyPatch,
    style: str,
    flags: tuple[str, ...],
    rows: list[list[int]],
) -> None:
    """Pictures in each forward pass of the U-Net, step by step, for the first style and the second."""
    school: School = request.getfixturevalue("school" if style == "ink" else "knows_ink")
    seen: list[list[int]] = []
    backward = loop.micro_step

    def looking(room: loop.Classroom, *others: Any) -> dict[str, Tensor]:
        seen.append([])
        hook = room.museum.base.unet.register_forward_hook(lambda _m, given, _o: seen[-1].append(len(given[0])))
        try:
            return backward(room, *others)
        finally:
            hook.remove()

    monkeypatch.setattr(loop, "micro_step", looking)
    command = school.command(*flags, styles=(style,))
    if "--replay_batch_size=3" not in flags:
        command = [word for word in command if not word.startswith("--replay_batch_size")]
    assert teach(command).code == 0
    assert seen == rows
