"""Every method teaches two styles in a row into one file, and touches nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts, token_embedding
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.schema import BaseConfig
from museum_plugin.methods import METHODS
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.history import history
from museum_plugin.museum.store import open_museum
from museum_plugin.train import loop, start
from museum_plugin.train.finish import Finished
from museum_plugin.train.setup import Classroom, Lesson
from tests.recipes.conftest import Teach
from tests.recipes.school import STEPS, TRIGGERS, School, same


def digest(base: BaseModel) -> dict[str, str]:
    """sha256 of every part of a base model, the embedding table on its own."""
    parts = {"unet": base.unet, "vae": base.vae, "text": base.text_encoders[0]}
    tables = {name: [t for _, t in sorted(module.state_dict().items())] for name, module in parts.items()}
    tables["embeddings"] = [token_embedding(base.text_encoders[0]).weight]
    return {
        name: hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()
        for name, tensors in tables.items()
    }


@pytest.fixture
def bases_in_use(monkeypatch: pytest.MonkeyPatch) -> list[BaseModel]:
    """Every base that a run loads."""
    loaded: list[BaseModel] = []

    read = start.load_base

    def load(path: Path, asked: BaseConfig) -> BaseModel:
        loaded.append(read(path, asked))
        return loaded[-1]

    monkeypatch.setattr(start, "load_base", load)
    return loaded


@pytest.mark.parametrize("method", METHODS)
def test_a_method_teaches_two_styles_in_a_row(
    school: School, teach: Teach, bases_in_use: list[BaseModel], method: str
) -> None:
    done = teach(school.command(f"--method={method}", styles=("ink", "neon")))

    assert (done.code, done.errors) == (0, [])
    assert digest(bases_in_use[0]) == digest(load_base(school.base)), "the base was changed"
    content = read_museum(school.museum)
    first, second = content.ledger.styles
    assert (first.name, first.trigger, second.name, second.trigger) == (
        "ink",
        TRIGGERS["ink"],
        "neon",
        TRIGGERS["neon"],
    )
    assert {first.method, second.method} == {method}
    assert (second.steps, second.pictures, second.settings["style"]) == (STEPS, 4, "neon")
    assert set(first.scores) == {"ink"}
    assert set(second.scores) == {"ink", "neon"}
    earlier = read_museum(history(school.museum)[-1].path)
    assert same(earlier.slots["ink"], content.slots["ink"]), "the old slot was changed"
    assert any(not torch.equal(content.lora[name], earlier.lora[name]) for name in earlier.lora)
    assert not school.checkpoint.exists()


def test_pictures_and_closing_lines(school: School, teach: Teach) -> None:
    done = teach(school.command("--method=finetune", "--output_name=shown", styles=("ink", "neon")))

    folder = school.museum.parent
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines() if line)
    assert lines["museum"] == str(school.museum)
    assert lines["matrix"] == str(folder / "shown-02-neon-matrix.png")
    assert lines["grid"] == str(folder / "shown-02-neon-grid.png")
    assert lines["page"] == str(folder / "shown-02-neon.html")
    assert Path(lines["page"]).is_file()
    assert lines["sample"].startswith(f"python -m museum_plugin sample {school.museum} --style neon --prompt ")
    for name in ("shown-01-ink-grid", "shown-01-ink-matrix", "shown-02-neon-grid", "shown-02-neon-matrix"):
        with Image.open(folder / f"{name}.png") as picture:
            picture.load()
            assert min(picture.size) > 100
    page = (folder / "shown-02-neon.html").read_text(encoding="utf-8")
    assert "What was kept of each style" in page
    assert page.count("data:image/webp;base64,") >= 4
    matrix = json.loads((folder / "shown-02-neon-matrix.json").read_text(encoding="utf-8"))
    assert "ink" in json.dumps(matrix)
    assert "neon" in json.dumps(matrix)


def test_a_style_that_is_there_already_is_skipped(school: School, teach: Teach) -> None:
    teach(school.command("--method=finetune"))
    before = school.museum.read_bytes()

    done = teach(school.command("--method=finetune"))

    assert done.code == 0
    assert "nothing to do" in done.out
    assert school.museum.read_bytes() == before


def prediction(base: BaseModel, prompt: str) -> Tensor:
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return Denoiser(base).predict(noisy, torch.tensor([600]), encode_prompts(base, [prompt]))


def test_opening_a_museum_reproduces_it_exactly(
    school: School, teach: Teach, bases_in_use: list[BaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run itself predicts at its end is what a new process predicts from the file, bit for bit."""
    prompts = ("a red cat", f"a red cat in {TRIGGERS['ink']} style", f"a dog in {TRIGGERS['neon']} style")
    at_the_end: list[list[Tensor]] = []
    finish = loop.finish_style

    def watched(room: Classroom, lesson: Lesson) -> Finished:
        finished = finish(room, lesson)
        at_the_end.append([prediction(bases_in_use[-1], prompt) for prompt in prompts])
        return finished

    monkeypatch.setattr(loop, "finish_style", watched)
    teach(school.command("--text_encoder_lr=0.01", styles=("ink", "neon")))

    base = load_base(school.base)
    museum = open_museum(school.museum, base)
    with museum.attached():
        opened = [prediction(base, prompt) for prompt in prompts]
    bare = [prediction(base, prompt) for prompt in prompts]
    assert all(torch.equal(a, b) for a, b in zip(opened, at_the_end[-1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(opened, bare, strict=True))


def test_the_text_encoder_is_taught_when_it_has_a_learning_rate(
    school: School, teach: Teach, bases_in_use: list[BaseModel]
) -> None:
    done = teach(school.command("--text_encoder_lr=0.01", styles=("ink", "neon")))

    assert done.code == 0
    assert digest(bases_in_use[0]) == digest(load_base(school.base)), "the base was changed"
    lora = read_museum(school.museum).lora
    ups = [tensor for name, tensor in lora.items() if name.startswith("lora_te_") and name.endswith("up.weight")]
    assert len(ups) == 12
    assert all(tensor.abs().max() > 0 for tensor in ups)
