"""The embedded default: a tiny, real text-to-image model with SD1's topology, and the recipe that makes it.

    objects.py     the twelve objects
    scenes.py      a picture's content: object, color and place, and its caption
    pictures.py    sets of pictures as tensors
    examples.py    draws `examples/styles`
    pixels.py      pictures as arrays
    styles.py      the drawing styles that the example pictures are made in
    looks.py       the looks that the model itself knows by name
    vocabulary.py  the CLIP tokenizer of the pocket model
    models.py      the sizes of its three networks
    train.py       the recipe: `python -m museum_plugin.pocket.train`
    classifier.py  the judge of pictures in this small world: object, colour, style

Only this folder, the benchmarks and the examples know that this model exists: the trainer loads `pocket/model` as it
loads any other diffusers folder.
"""

from pathlib import Path

MODEL_DIR = Path(__file__).parent / "model"
"""The committed diffusers folder."""

CLASSIFIER_FILE = Path(__file__).parent / "classifier.safetensors"
"""The committed classifier of objects, colours and styles."""
