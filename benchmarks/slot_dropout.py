"""How well a style's plain word works where no slot is loaded: by the share of pictures learned with the plain word,
and by layers of the text encoder that know the words (`export --for plain`).

python -m benchmarks.slot_dropout [--shares 0 0.25 0.5 0.75 0.9] [--styles 3] [--seeds 1] [--pictures 18]
    [--out output/plain]

The settings are the demo's (`presets/demo.toml`). Scores are the pocket classifier's, as in `benchmarks/forgetting.py`,
of all styles after the last one was taught: drawn with the slots; with the slots off, as a client draws that applies
the LoRA and knows nothing of slots; and the same with the file of `export --for plain`, then with its layers and the
slots as well. Each share and seed is written to a JSON file as soon as it is done.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from statistics import mean

import torch

from benchmarks.lessons import run_config
from benchmarks.pocket_pictures import show
from benchmarks.teaching import DRAWN_SEED
from museum_plugin.base.load import load_base
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.export.plain_words import PlainWords, learn_plain_words
from museum_plugin.museum.lora import LoRANetwork
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.store import open_museum
from museum_plugin.pocket.classifier import Classifier, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes
from museum_plugin.pocket.styles import FLAT, STYLES
from museum_plugin.train.loop import train

WITH_SLOT, PLAIN, NO_TRIGGER = "with slot", "plain word", "no trigger"
TAUGHT, TAUGHT_WITH_SLOT, TAUGHT_NO_TRIGGER = "for plain", "and slot", "no trigger "
COLUMNS = (WITH_SLOT, PLAIN, NO_TRIGGER, TAUGHT, TAUGHT_WITH_SLOT, TAUGHT_NO_TRIGGER)


def teach_and_measure(
    share: float, seed: int, styles: list[str], folder: Path, classifier: Classifier, pictures: int
) -> dict[str, list[float]]:
    """By `COLUMNS`: scores of the styles in order, or the share of flat pictures without a trigger."""
    for style in styles:
        run = run_config("museum", seed, folder, style, [f"--slot_dropout={share}"])
        train(run)
    base, scenes = load_base(run.base.path), held_out_scenes()[:pictures]
    museum = open_museum(folder / "museum.safetensors", base)

    def scores() -> list[float]:
        return [
            show(base, classifier, scenes, museum.phrase(style), seed=DRAWN_SEED).style_score(style) for style in styles
        ]

    def flat() -> list[float]:
        return [show(base, classifier, scenes, "", seed=DRAWN_SEED).style_rate(FLAT)]

    with museum.attached():
        words = plain_network(museum, learn_plain_words(museum, styles, TextEncoding()))
    with torch.no_grad(), museum.attached():
        found = {WITH_SLOT: scores(), NO_TRIGGER: flat()}
        with museum.slots.disabled():
            found[PLAIN] = scores()
        with words.attached():
            found |= {TAUGHT_WITH_SLOT: scores(), TAUGHT_NO_TRIGGER: flat()}
            with museum.slots.disabled():
                found[TAUGHT] = scores()
    return found


def plain_network(museum: Museum, words: PlainWords) -> LoRANetwork:
    """The layers that `export --for plain` adds."""
    shapes = {name.removesuffix(".lora_down.weight"): LayerShape(len(down), float(len(down)))
              for name, down in words.tensors.items() if name.endswith(".lora_down.weight")}  # fmt: skip
    network = LoRANetwork(museum.base, rank=1, alpha=1.0, seed=0, with_text_encoder=True, shapes=shapes)
    network.load_tensors(words.tensors)
    return network


def table(results: dict[float, list[dict[str, list[float]]]]) -> str:
    """Means over styles and seeds, a line for each share."""
    lines = ["slot_dropout" + "".join(f"{column:>12}" for column in COLUMNS)]
    for share, runs in results.items():
        means = (mean(mean(run[column]) for run in runs) for column in COLUMNS)
        lines.append(f"{share:12.2f}" + "".join(f"{number:12.3f}" for number in means))
    return "\n".join(lines)


def main() -> None:
    """Run what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.25, 0.5, 0.75, 0.9])
    parser.add_argument("--styles", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=18, help="drawn for each score")
    parser.add_argument("--out", type=Path, default=Path("output/plain"))
    args = parser.parse_args()
    logging.getLogger("museum").setLevel(logging.WARNING)
    classifier, results = load_classifier(), {}
    for share in args.shares:
        results[share] = []
        for seed in range(args.seeds):
            folder = args.out / f"{share:g}-{seed}"
            file = Path(f"{folder}.json")
            if not file.exists():
                styles = list(STYLES)[: args.styles]
                found = teach_and_measure(share, seed, styles, folder, classifier, args.pictures)
                file.write_text(json.dumps(found, indent=1))
            results[share].append(json.loads(file.read_text()))
    print(table(results))


if __name__ == "__main__":
    main()
