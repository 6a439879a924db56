"""What a picture of this small world shows: object, color and style. Judges generated pictures in the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from museum_plugin.pocket import CLASSIFIER_FILE, MODEL_DIR
from museum_plugin.pocket.pictures import STRANGE, drawn_in, to_tensor, to_unit
from museum_plugin.pocket.scenes import COLORS, OBJECTS, Scene, all_scenes
from museum_plugin.pocket.styles import FLAT, STYLES

STYLE_NAMES = (FLAT, STRANGE, *STYLES)
COLOR_NAMES = tuple(COLORS)
_COLORLESS = frozenset({"ink", "blueprint", "neon", "riso", STRANGE})
"""Styles that do not show the object's color."""


@dataclass(frozen=True)
class Reading:
    """Probabilities (B, n) for the names in OBJECTS, COLOR_NAMES and STYLE_NAMES."""

    object: Tensor
    color: Tensor
    style: Tensor


class Classifier(nn.Module):
    """A small convolutional network with three answers."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 96, 96)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.object = nn.Linear(widths[-1] * 16, len(OBJECTS))
        self.color = nn.Linear(widths[-1] * 16, len(COLOR_NAMES))
        self.style = nn.Linear(widths[-1] * 16, len(STYLE_NAMES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits for pictures (B, 3, 128, 128) in [-1, 1]."""
        features = self.body(images).flatten(1)
        return self.object(features), self.color(features), self.style(features)

    @torch.no_grad()
    def read(self, images: Tensor) -> Reading:
        """Probabilities for pictures (B, 3, 128, 128) in [-1, 1]."""
        return Reading(*(logits.softmax(dim=1) for logits in self(images.float())))


@dataclass(frozen=True)
class Exam:
    """Pictures with their right answers; color -100 where the style hides it."""

    images: Tensor
    """(N, 3, 128, 128) uint8."""
    object: Tensor
    color: Tensor
    style: Tensor


def draw_exam(count: int, seed: int) -> Exam:
    """Drawn pictures of all scenes in all styles, evenly mixed."""
    rng = Random(seed)
    scenes = list(all_scenes())
    images, objects, colors, styles = [], [], [], []
    for i in tqdm(range(count), desc="drawing for the classifier", mininterval=5):
        scene: Scene = rng.choice(scenes)
        style = FLAT if i % 3 == 0 else rng.choice(STYLE_NAMES)
        images.append(to_tensor(drawn_in(scene, style, rng)))
        objects.append(OBJECTS.index(scene.object))
        colors.append(-100 if style in _COLORLESS else COLOR_NAMES.index(scene.color))
        styles.append(STYLE_NAMES.index(style))
    return Exam(torch.stack(images), torch.tensor(objects), torch.tensor(colors), torch.tensor(styles))


def train_classifier(vae: AutoencoderKL, *, steps: int, pictures: int, seed: int) -> Classifier:
    """Train on drawn pictures, half of them passed through the VAE, whose traces every generated picture bears."""
    torch.manual_seed(seed)
    exam = draw_exam(pictures, seed)
    with torch.inference_mode():
        images = exam.images.clone()
        for part in tqdm(torch.arange(0, pictures, 2).split(50), desc="through the VAE", mininterval=5):
            passed = vae.decode(vae.encode(to_unit(images[part])).latent_dist.mean).sample
            images[part] = ((passed.clamp(-1, 1) + 1) * 127.5).round().byte()
    model = Classifier().train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in tqdm(range(steps), desc="classifier", mininterval=5):
        pick = torch.randint(pictures, (64,))
        batch = to_unit(images[pick])
        batch = batch * (1 + 0.1 * torch.randn(64, 1, 1, 1)) + 0.05 * torch.randn(64, 1, 1, 1)
        batch = batch + torch.randn_like(batch) * 0.06 * torch.rand(64, 1, 1, 1)
        answers = model(torch.roll(batch, tuple(torch.randint(-6, 7, (2,)).tolist()), dims=(2, 3)))
        rights = (exam.object[pick], exam.color[pick], exam.style[pick])
        losses = [F.cross_entropy(answer, right) for answer, right in zip(answers, rights, strict=True)]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def accuracy(model: Classifier, exam: Exam) -> dict[str, float]:
    """Share of right answers for object, color (where it shows) and style."""
    parts = [model.read(to_unit(part)) for part in exam.images.split(100)]
    found = {}
    for name in ("object", "color", "style"):
        answers = torch.cat([getattr(part, name) for part in parts]).argmax(dim=1)
        right = getattr(exam, name)
        known = right >= 0
        found[name] = (answers[known] == right[known]).float().mean().item()
    return found


def save_classifier(model: Classifier, path: Path = CLASSIFIER_FILE) -> None:
    """Write the weights in half precision."""
    save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, path)


def load_classifier(path: Path = CLASSIFIER_FILE) -> Classifier:
    """The committed classifier."""
    model = Classifier()
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return model.eval()


def make_classifier(seed: int, folder: Path = MODEL_DIR) -> dict[str, float]:
    """Train, write and examine the classifier on pictures drawn with another seed; returns its accuracy."""
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
    save_classifier(train_classifier(vae, steps=1000, pictures=5000, seed=seed))
    return accuracy(load_classifier(), draw_exam(1000, seed + 1))
