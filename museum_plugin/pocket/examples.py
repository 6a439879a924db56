"""Draw the example styles: `python -m museum_plugin.pocket.examples`. The same pictures every time."""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

from museum_plugin.pocket.scenes import COLORS, OBJECTS, PLACES, Scene, draw
from museum_plugin.pocket.styles import STYLES

DEMO_STYLES = ("ink", "neon", "mosaic")
_DATASET = """\
[[datasets]]
style = "{style}"

  [[datasets.subsets]]
  image_dir = "{style}"
"""
_HEADER = """\
# {title}
[general]
resolution = 128
batch_size = 4
caption_extension = ".txt"

"""


def example_scenes(style_number: int) -> list[Scene]:
    """Twelve scenes, one for each object, in colors and places that differ from style to style."""
    colors, places = list(COLORS), list(PLACES)
    return [
        Scene(name, colors[(i * 5 + style_number) % len(colors)], places[(i + i // 4 + style_number) % len(places)])
        for i, name in enumerate(OBJECTS)
    ]


def write_examples(folder: Path) -> None:
    """Write twelve pictures with captions and a dataset TOML for each style, one TOML with all styles and one
    with those of the demo."""
    for number, (style, apply) in enumerate(STYLES.items()):
        rng = Random(f"example/{style}")
        (folder / style).mkdir(parents=True, exist_ok=True)
        for scene in example_scenes(number):
            stem = folder / style / f"{scene.object}_{scene.color}_{scene.place}"
            apply(draw(scene, rng), rng).save(stem.with_suffix(".png"), optimize=True)
            stem.with_suffix(".txt").write_text(scene.caption() + "\n", encoding="utf-8")
        text = _HEADER.format(title=f"One style, twelve pictures: {style}.") + _DATASET.format(style=style)
        (folder / f"{style}.toml").write_text(text, encoding="utf-8")
    datasets = "\n".join(_DATASET.format(style=style) for style in STYLES)
    text = _HEADER.format(title="All eight styles, taught in this order.") + datasets
    (folder / "all.toml").write_text(text, encoding="utf-8")
    datasets = "\n".join(_DATASET.format(style=style) for style in DEMO_STYLES)
    text = _HEADER.format(title="The three styles of the demo, taught in this order.") + datasets
    (folder / "demo.toml").write_text(text, encoding="utf-8")


def main() -> None:
    """Write the examples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("examples/styles"))
    write_examples(parser.parse_args().out)


if __name__ == "__main__":
    main()
