"""`check` foretells what training does with a museum that training made."""

from __future__ import annotations

import pytest

from museum_plugin.cli.check_report import examine
from museum_plugin.museum import triggers
from museum_plugin.museum.file import read_ledger
from tests.recipes.conftest import Teach
from tests.recipes.school import School
from tests.tiny_models import TINY_SLOT_WORDS


def test_the_weight_of_regularisation_pictures_is_part_of_a_style(school: School, teach: Teach) -> None:
    file = school.dataset("ink")
    prior = f"[[datasets.subsets]]\nimage_dir = '{school.pictures / 'neon'}'\nis_reg = true\n"
    file.write_text(file.read_text(encoding="utf-8") + prior, encoding="utf-8")
    flags = ("--method=finetune", "--max_train_steps=1", f"--dataset_config={file}")
    command = school.command(*flags, "--prior_loss_weight=0.5")
    assert teach(command).code == 0

    same, other = examine(command), examine(school.command(*flags, "--prior_loss_weight=0.25"))

    assert (same.problems, same.styles[0].is_taught) == ((), True)
    assert len(other.problems) == 1
    assert "style 'ink' is in this museum already, taught from other" in other.problems[0]


def test_the_word_that_auto_takes(school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "slot_words", lambda: TINY_SLOT_WORDS)
    file = school.dataset("ink")
    file.write_text(file.read_text(encoding="utf-8").replace(TINY_SLOT_WORDS[0], "auto"), encoding="utf-8")
    command = school.command("--method=finetune", "--max_train_steps=1", f"--dataset_config={file}")

    foretold = examine(command).styles[0].trigger
    assert teach(command).code == 0

    assert read_ledger(school.museum).styles[0].trigger == foretold
    assert foretold == triggers.walk(read_ledger(school.museum).museum_id, TINY_SLOT_WORDS)[0]
