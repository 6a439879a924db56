"""A style is taken out of the shared LoRA: what it drew becomes what the base draws, and the others stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from museum_plugin.__main__ import main
from museum_plugin.base.load import load_base
from museum_plugin.config.schema import ReplayConfig
from museum_plugin.data.captions import with_trigger
from museum_plugin.errors import TrainingError
from museum_plugin.methods.bank import Bank
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.history import history
from museum_plugin.museum.latest_scores import changed_scores
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.train.rehearsal import Rehearsal, predictions
from museum_plugin.train.unlearning import UnlearningPlan, unlearn, unlearning_bank
from tests.recipes.school import School, same, teach_here

REPLAY = ReplayConfig(per_style=2, neutral=2, sampling_steps=3)


@pytest.fixture(scope="module")
def taught(tiny_base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> School:
    """A museum that knows ink and neon."""
    school = School(tiny_base, pictures, tmp_path_factory.mktemp("two"))
    flags = ("--method=finetune", "--max_train_steps=8", "--slot_dropout=0.5")
    assert teach_here(school.command(*flags, styles=("ink", "neon"))) == 0
    return school


class Room:
    """The museum of two styles on its base, with the bank that takes ink out."""

    def __init__(self, school: School) -> None:
        content = read_museum(school.museum)
        self.rehearsal = Rehearsal.of(school.museum, load_base(school.base), content.ledger)
        self.museum = self.rehearsal.museum(content)
        with self.museum.attached():
            self.states: StateCache = self.rehearsal.states(self.museum)
            self.drawn: Bank = self.rehearsal.bank(self.museum, REPLAY, 0)
            contents = self.rehearsal.contents(self.museum)
            self.bank: Bank = unlearning_bank(self.museum, self.drawn, self.states, "ink", contents)
        self.start = {name: tensor.clone() for name, tensor in self.museum.network.tensors().items()}

    def unlearned(self, **changed: float) -> tuple[Museum, dict[str, Tensor]]:
        """The museum from its start after some steps."""
        plan = UnlearningPlan(**{"style": "ink", "steps": 30, "learning_rate": 3e-3, **changed})  # type: ignore[arg-type]
        self.museum.network.load_tensors(self.start)
        with self.museum.attached():
            unlearn(self.museum, self.bank, self.states, plan, lambda _: None)
        return self.museum, {name: tensor.clone() for name, tensor in self.museum.network.tensors().items()}

    def error(self, group: int) -> float:
        """How far the museum is from its teachers in a group, as a share of what it did to the base before."""
        anchors = [anchor for anchor in self.bank.anchors if anchor.group == group and anchor.prompt]
        teacher = torch.stack([anchor.pred for anchor in anchors])
        with self.museum.attached():
            return float((predictions(self.museum, anchors, self.states) - teacher).square().mean())


@pytest.fixture(scope="module")
def room(taught: School) -> Room:
    return Room(taught)


def test_the_bank_teaches_what_the_base_draws_without_the_trigger(room: Room) -> None:
    museum, phrase = room.museum, room.museum.phrase("ink")
    assert room.bank.groups == ("no trigger", "ink", "neon")
    other = [anchor for anchor in room.bank.anchors if anchor.group != 1]
    kept = [anchor for anchor in room.drawn.anchors if anchor.group != 1]
    assert all(torch.equal(a.pred, b.pred) for a, b in zip(other, kept, strict=True))
    own = [anchor for anchor in room.bank.anchors if anchor.group == 1]
    assert all(phrase in anchor.prompt for anchor in own if anchor.prompt)
    assert {anchor.plain for anchor in own if anchor.prompt} == {True, False}
    content = room.rehearsal.contents(museum)[0]
    shown = next(a for a in own if not a.plain and a.prompt == with_trigger(content, phrase))
    plain = next(a for a in own if a.plain and torch.equal(a.noisy, shown.noisy) and a.t == shown.t)
    with museum.attached():
        for anchor, prompt in ((shown, content), (plain, plain.prompt)):
            asked = [type(anchor)(0, prompt, anchor.noisy, anchor.t, anchor.pred)]
            expected = predictions(museum, asked, room.rehearsal.states(museum), bare=True)[0]
            torch.testing.assert_close(anchor.pred.float(), expected, atol=1e-5, rtol=6e-4)


def test_the_style_goes_and_the_other_stays(room: Room) -> None:
    room.museum.network.load_tensors(room.start)
    before = [room.error(group) for group in range(3)]
    _, first = room.unlearned()
    after = [room.error(group) for group in range(3)]
    assert after[1] < 0.5 * before[1]
    assert after[0] < before[0]  # what prompts without a trigger had caught goes too
    assert after[2] < 0.5 * before[1]
    assert same(room.unlearned()[1], first)


def test_each_setting_counts(room: Room) -> None:
    _, usual = room.unlearned(steps=3)
    for changed in ({"learning_rate": 1e-3}, {"seed": 1}, {"batch_size": 3}, {"steps": 4}):
        assert not same(room.unlearned(**{"steps": 3, **changed})[1], usual)


def test_a_rate_that_is_too_high_is_told(room: Room) -> None:
    with pytest.raises(TrainingError, match="lower --learning_rate"):
        room.unlearned(steps=5, learning_rate=1e30)
    room.museum.network.load_tensors(room.start)


@pytest.fixture
def copy(taught: School, tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    shutil.copy(taught.museum, path)
    return path


def test_the_command_scores_before_and_after(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = copy.read_bytes()
    assert main(["remove", str(copy), "ink", "--distill", "--steps=2", "--gate=off"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == ["style", "ink", "neon", "no"]
    content = read_museum(copy)
    assert list(content.slots) == ["neon"]
    assert content.ledger.removed[0]["how"] == "distilled"
    after, scores = changed_scores(content.ledger)
    assert (after, set(scores)) == ("without ink", {"neon"})
    assert history(copy)[-1].path.read_bytes() == before
    assert main(["rollback", str(copy)]) == 0
    assert copy.read_bytes() == before


def test_where_others_lose_too_much_nothing_is_replaced(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def object_to_all(_verdict: object, before: dict[str, float], _gate: object) -> list[str]:
        asked.append(set(before))
        return ["neon keeps 3 %"]

    monkeypatch.setattr("museum_plugin.train.rehearsal.objections", object_to_all)
    before = copy.read_bytes()
    assert main(["remove", str(copy), "ink", "--distill", "--steps=1"]) == 8
    assert "taking ink out costs too much: neon keeps 3 %" in capsys.readouterr().err
    assert asked == [{"neon"}]  # of the style that goes nothing is expected
    assert copy.read_bytes() == before
    assert list(read_museum(copy.with_name("mine.refused-1.safetensors")).slots) == ["neon"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--steps=3"], 2, "--steps: only with --distill"),
        (["--seed=3"], 2, "--seed: only with --distill"),
        (["--learning_rate=0.1"], 2, "--learning_rate: only with --distill"),
        (["--pretrained_model_name_or_path=x"], 2, "only with --distill"),
        (["--distill", "--learning_rate=0"], 2, "allowed: a number above 0"),
        (["--distill", "--pretrained_model_name_or_path=nowhere"], 4, "nowhere"),
        (["--distill", "--steps=3", "--learning_rate=1e30"], 6, "lower --learning_rate"),
    ],
)
def test_mistakes_change_nothing(
    copy: Path, words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copy.read_bytes()
    assert main(["remove", str(copy), "ink", *words]) == code
    assert told in capsys.readouterr().err
    assert copy.read_bytes() == before
    assert not history(copy)
