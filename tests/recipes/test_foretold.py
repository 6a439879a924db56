"""`check` foretells what training does with a museum that training made."""

from __future__ import annotations

from museum_plugin.cli.check_report import examine
from tests.recipes.conftest import Teach
from tests.recipes.school import School


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
