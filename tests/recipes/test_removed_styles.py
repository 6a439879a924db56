"""A museum from which a style was removed goes on learning."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.__main__ import main
from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Teach
from tests.recipes.school import TRIGGERS, School
from tests.tiny_models import TINY_SLOT_WORDS

QUICK = ("--method=finetune", "--max_train_steps=1")


def test_the_word_of_a_removed_style_is_not_given_again(
    knows_ink: School, teach: Teach, capsys: pytest.CaptureFixture[str]
) -> None:
    school = knows_ink
    assert teach(school.command(*QUICK, styles=("ink", "neon"))).code == 0
    neon = school.numbers()["slot neon"]
    assert main(["remove", str(school.museum), "ink"]) == 0
    again = school.command(*QUICK, styles=("ink",))
    refused = teach(again)
    told = f"trigger '{TRIGGERS['ink']}' belonged to a style that was removed"
    assert (refused.code, told in refused.err) == (2, True)
    assert main(["check", *again]) == 1
    assert told in capsys.readouterr().out

    dataset = school.dataset("ink")
    dataset.write_text(dataset.read_text().replace(TRIGGERS["ink"], TINY_SLOT_WORDS[2]))
    assert teach(school.command(*QUICK, f"--dataset_config={dataset}")).code == 0
    ledger = read_museum(school.museum).ledger
    assert [(record.name, record.trigger) for record in ledger.styles][1] == ("ink", TINY_SLOT_WORDS[2])
    assert ledger.retired_words == (TRIGGERS["ink"],)
    assert torch.equal(school.numbers()["slot neon"], neon)
