"""What one run of `benchmarks/forgetting.py` found, as it is kept in a JSON file, and what is read from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean

from benchmarks.lessons import JOINT
from museum_plugin.judge.matrix import average_forgetting, backward_transfer

SHIPPED = "shipped"


@dataclass
class Result:
    """What one method did with one seed and one order of the styles. Fields with a default may be missing in a file."""

    method: str
    seed: int
    styles: list[str]
    """In the order of learning."""
    matrix: list[list[float]] = field(default_factory=list)
    """R[i][j]: score of style j after learning style i."""
    no_trigger: list[float] = field(default_factory=list)
    """Share of pictures without trigger judged flat, after each style."""
    objects: list[float] = field(default_factory=list)
    """Share of pictures with trigger whose object is recognised, for each style at the end."""
    judged: list[list[float]] = field(default_factory=list)
    """As `matrix`, by the judge that is in every run, which knows no classifier."""
    judged_drift: list[float] = field(default_factory=list)
    """The judge's drift of prompts without a trigger, after each style."""
    base_flat: float = 0.0
    """The same share as `no_trigger`, of the bare base."""
    order: str = SHIPPED
    confusion: list[float] = field(default_factory=list)
    """Share of pictures with a trigger that are judged as another taught style, after each style."""
    base_objects: float = 0.0
    """Share of the bare base's pictures whose object is recognised."""
    file_bytes: list[int] = field(default_factory=list)
    """Of the file, or of all files together, after each style."""
    step_seconds: list[float] = field(default_factory=list)
    """Processor seconds of a step, of each style."""

    @property
    def learned(self) -> float:
        """Mean score of each style right after it was learned."""
        return mean(row[-1] for row in self.matrix) if self.method != JOINT else self.kept

    @property
    def kept(self) -> float:
        """Mean score of all styles at the end."""
        return mean(self.matrix[-1])

    @property
    def forgetting(self) -> float:
        """Average forgetting of the matrix."""
        return average_forgetting(self.matrix) if self.method != JOINT else 0.0

    @property
    def transfer(self) -> float:
        """Backward transfer of the matrix."""
        return backward_transfer(self.matrix) if self.method != JOINT else 0.0

    @property
    def name(self) -> str:
        """Of its file and folder."""
        return run_name(self.method, self.seed, self.order)

    def figures(self) -> dict[str, float]:
        """Its measures by name; those that an older file does not hold are left out.

        Scores are the classifier's. "no trigger" and "content" are shares of the bare base's; "s/step" is that of the
        last style.
        """
        found = {
            "learned": self.learned,
            "at end": self.kept,
            "kept": self.kept / max(self.learned, 1e-9),
            "forgetting": self.forgetting,
            "transfer": self.transfer,
            "no trigger": self.no_trigger[-1] / max(self.base_flat, 1e-9),
        }
        if self.confusion:
            found["confusion"] = self.confusion[-1]
        if self.base_objects:
            found["content"] = mean(self.objects) / self.base_objects
        if self.file_bytes:
            found["KiB"] = self.file_bytes[-1] / 1024
        if self.step_seconds:
            found["s/step"] = self.step_seconds[-1]
        return found


def run_name(method: str, seed: int, order: str) -> str:
    """Of a run's file and folder."""
    return f"{method}-{seed}" + ("" if order == SHIPPED else f"-{order}")


def write_result(result: Result, folder: Path) -> None:
    """Into its file in a folder that exists."""
    (folder / f"{result.name}.json").write_text(json.dumps(asdict(result), indent=1))


def read_result(file: Path) -> Result:
    """As `write_result` has written it, or an earlier version of it."""
    return Result(**json.loads(file.read_text()))
