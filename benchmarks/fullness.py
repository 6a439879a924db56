"""How full the museums of `benchmarks.forgetting` were after each style, beside what they kept.

python -m benchmarks.fullness output/forgetting/museum-0 output/forgetting/finetune-0 ...

Each folder holds a museum with its history; the scores stand beside it as museum-0.json. No model is loaded.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from museum_plugin.museum.file import read_museum
from museum_plugin.museum.fullness import fullness
from museum_plugin.museum.history import history


def main() -> None:
    """Print a line for each version of each museum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    print(f"{'run':16}{'styles':>8}{'effective rank':>16}{'of':>5}{'99 % in':>10}{'older ones kept':>18}")
    for folder in parser.parse_args().folders:
        museum = folder / "museum.safetensors"
        matrix = json.loads(folder.with_name(f"{folder.name}.json").read_text(encoding="utf-8"))["matrix"]
        for path in [*(version.path for version in history(museum)), museum]:
            content = read_museum(path)
            found, styles = fullness(content), len(content.ledger.styles)
            if found is None or styles > len(matrix):
                continue
            row = matrix[styles - 1]
            kept = [row[i] / matrix[i][i] for i in range(styles - 1)]
            told = f"{sum(kept) / len(kept):18.3f}" if kept else ""
            print(
                f"{folder.name:16}{styles:8}{found.effective_rank:16.2f}{found.rank:5.0f}{found.directions:10.1f}{told}"
            )


if __name__ == "__main__":
    main()
