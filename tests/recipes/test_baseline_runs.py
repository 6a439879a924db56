"""A second style taught by each baseline: it is learned, what is to be held is held, and a broken run goes on."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from museum_plugin.base.encode import encode_pictures
from museum_plugin.base.load import load_base
from museum_plugin.data.images import open_picture, to_tensor
from museum_plugin.museum.store import open_museum
from tests.recipes.conftest import Teach
from tests.recipes.school import SCENES, TRIGGERS, School, same, teach_here, write_dataset
from tests.recipes.test_learning import mean_loss, predictions
from tests.recipes.test_resume import Interrupt, interrupt_in  # noqa: F401
from tests.tiny_models import TINY_SLOT_WORDS

Runs = Callable[[str], School]
HEAVY = {
    "finetune": "",
    "ewc": "elastic_weights=1000",
    "lwf": "old_predictions=30",
    "clora": "self_regularization=1000",
    "olora": "orthogonality=1",
}


@pytest.fixture(scope="module")
def second(
    tiny_base: Path, pictures: Path, taught_ink: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Runs:
    """A school whose museum learned a second style by a method; each run once."""
    known: dict[str, School] = {}

    def run(method: str) -> School:
        if method not in known:
            school = School(tiny_base, pictures, tmp_path_factory.mktemp(method))
            school.museum.parent.mkdir()
            shutil.copy(taught_ink(), school.museum)
            weights = ["--term_weights", HEAVY[method]] if HEAVY[method] else []
            flags = [f"--method={method}", "--max_train_steps=12", "--replay_batch_size=4", *weights]
            assert teach_here(school.command(*flags, styles=("neon",))) == 0
            known[method] = school
        return known[method]

    return run


def moved(school: School, before: Path) -> float:
    """How far predictions under the old style's trigger have moved since another file."""
    base = load_base(school.base)
    now, old = (predictions(open_museum(path, base))["ink"] for path in (school.museum, before))
    return (now - old).square().mean().item()


@pytest.mark.parametrize("method", ["ewc", "lwf", "clora"])
def test_an_old_style_moves_less_than_by_plain_training(
    second: Runs, taught_ink: Callable[[], Path], method: str
) -> None:
    free = moved(second("finetune"), taught_ink())
    assert moved(second(method), taught_ink()) < 0.6 * free


@pytest.mark.parametrize("method", list(HEAVY))
def test_the_second_style_is_learned(second: Runs, taught_ink: Callable[[], Path], method: str) -> None:
    school = second(method)
    base = load_base(school.base)
    latent = encode_pictures(base, to_tensor(open_picture(school.pictures / "neon" / "0.png"))[None])[0]
    losses = []
    for file in (taught_ink(), school.museum):
        museum = open_museum(file, base)
        with museum.attached():
            losses.append(mean_loss(museum, latent, f"{SCENES[0].caption()} in {TRIGGERS['neon']} style"))
    assert losses[1] < losses[0]
    assert museum.styles() == ("ink", "neon")
    assert museum.ledger.styles[1].method == method


def test_olora_adds_a_rank_block_and_leaves_the_old_one(
    second: Runs, taught_ink: Callable[[], Path], tiny_base: Path, teach: Teach, tmp_path: Path
) -> None:
    school = second("olora")
    museum, before = open_museum(school.museum, load_base(tiny_base)), open_museum(taught_ink(), load_base(tiny_base))
    assert museum.ledger.network.rank == 4
    for key, layer in museum.network.layers.items():
        assert torch.equal(layer.down[:2], before.network.layers[key].down)
        assert torch.equal(layer.up[:, :2], before.network.layers[key].up)
        assert layer.scale == before.network.layers[key].scale
    assert any(bool(layer.up[:, 2:].any()) for layer in museum.network.layers.values())
    mine = School(school.base, school.pictures, tmp_path)
    mine.museum.parent.mkdir()
    shutil.copy(school.museum, mine.museum)
    dataset = write_dataset(tmp_path / "dots.toml", {"dots": school.pictures / "ink"})
    dataset.write_text(dataset.read_text().replace('"auto"', f'"{TINY_SLOT_WORDS[2]}"'))
    words = mine.command("--method=olora", f"--dataset_config={dataset}")

    refused = teach([*words, "--network_alpha=1"])

    assert refused.code != 0
    assert "network_alpha / network_dim 1," in " ".join(refused.errors)
    assert teach(words).code == 0
    assert open_museum(mine.museum, load_base(tiny_base)).ledger.network.rank == 6


def test_a_broken_run_of_all_of_them_goes_on_as_if_it_had_not(
    knows_ink: School,
    teach: Teach,
    interrupt_in: Interrupt,  # noqa: F811
    tmp_path: Path,
) -> None:
    terms = ["elastic_weights=2", "old_predictions=1", "self_regularization=1", "function_lock=1"]
    flags = ["--method=olora", "--text_encoder_lr=0", "--term_weights", *terms]
    unbroken = School(knows_ink.base, knows_ink.pictures, tmp_path / "unbroken")
    unbroken.museum.parent.mkdir(parents=True)
    shutil.copy(knows_ink.museum, unbroken.museum)
    assert teach(unbroken.command(*flags, styles=("neon",))).code == 0
    interrupt_in(signal.SIGINT, 2)

    assert teach(knows_ink.command(*flags, styles=("neon",))).code == 130
    assert teach(knows_ink.command(*flags, styles=("neon",))).code == 0
    assert same(knows_ink.numbers(), unbroken.numbers())
