"""What a page about a museum is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from museum_plugin.judge.backbone_findings import BackboneFinding
from museum_plugin.judge.charts import Curve
from museum_plugin.judge.findings import Findings
from museum_plugin.museum.ledger import Ledger

Losses = dict[str, dict[str, Curve]]
"""Style -> term of the loss -> its curve over steps."""


@dataclass(frozen=True, eq=False)
class PageContent:
    """A museum, what was found of it, and the pictures."""

    name: str
    """Of the museum file, without its ending."""
    ledger: Ledger
    findings: Findings
    prompts: Sequence[str]
    """One for each row of the grid."""
    now: Mapping[str, Sequence[Image.Image]]
    """BASE, NO_TRIGGER and every style -> one picture for each prompt."""
    before: Mapping[str, Sequence[Image.Image]] = field(default_factory=dict)
    """The same by the museum before; empty without one."""
    before_name: str = ""
    """File of the museum before."""
    training: Mapping[str, Sequence[Image.Image]] = field(default_factory=dict)
    """Style -> its training pictures, where they are at hand."""
    losses: Losses = field(default_factory=dict)
    seen: Mapping[str, BackboneFinding] = field(default_factory=dict)
    """NO_TRIGGER and every style -> what a backbone found; empty without one."""
    backbone: str = ""

    def phrase(self, column: str) -> str:
        """What the user types for a column's style; "" where it is none."""
        return next((record.trigger for record in self.ledger.styles if record.name == column), "")

    def title(self, column: str) -> str:
        """A column's name, with what the user types."""
        phrase = self.phrase(column)
        return f"{column} ({phrase})" if phrase else column
