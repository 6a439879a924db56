"""How good the pocket model is: 200 pictures of captions it never saw, read by the classifier.

python -m benchmarks.pocket_quality [--out output/pocket_quality.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.pocket_pictures import show
from museum_plugin.base.load import load_base
from museum_plugin.judge.grid import write_grid
from museum_plugin.pocket import MODEL_DIR
from museum_plugin.pocket.classifier import accuracy, draw_exam, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes


def main() -> None:
    """Print the table and write the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("output/pocket_quality.png"))
    args = parser.parse_args()
    base, classifier = load_base(args.model), load_classifier()
    held = held_out_scenes()
    scenes = [held[i % len(held)] for i in range(args.pictures)]
    shown = show(base, classifier, scenes, "", seed=args.seed)
    drawn = accuracy(classifier, draw_exam(500, seed=99))
    size = sum(file.stat().st_size for file in args.model.rglob("*") if file.is_file()) / 2**20
    print(f"pocket model, {size:.1f} MB; {args.pictures} pictures of {len(held)} held-out captions, seed {args.seed}")
    print(f"{'':24}{'object':>10}{'color':>10}{'style':>10}")
    print(f"{'drawn (classifier)':24}{drawn['object']:10.1%}{drawn['color']:10.1%}{drawn['style']:10.1%}")
    rates = (shown.object_rate(), shown.color_rate(), shown.style_rate("flat"))
    print(f"{'generated':24}" + "".join(f"{rate:10.1%}" for rate in rates))
    print(f"{'bar':24}{'85.0%':>10}{'90.0%':>10}")
    columns = {str(c + 1): shown.images[c * 6 : c * 6 + 6] for c in range(min(6, len(scenes) // 6))}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_grid(args.out, columns, [f"seeds {args.seed + r}, +6, +12 ..." for r in range(6)])
    print(f"grid {args.out}")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
