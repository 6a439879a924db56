"""Reading another trainer's dataset: whose captions get the trigger, which latent a picture has."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from museum_plugin.data.guest_pictures import GuestPicture, GuestPictures, forget_text_outputs, put_trigger


class Dataset:
    """Upper-cases captions where it does not drop them."""

    def __init__(self, *records: SimpleNamespace, is_training_dataset: bool = True) -> None:
        self.image_data = {record.absolute_path: record for record in records}
        self.image_to_subset = {record.absolute_path: subset(record.is_reg) for record in records}
        self.is_training_dataset = is_training_dataset
        self.latents_caching_strategy: Any = None
        self.text_encoder_output_caching_strategy: Any = None

    def __len__(self) -> int:
        return 3

    def process_caption(self, subset: SimpleNamespace, caption: str) -> str:
        return "" if caption == "dropped" else caption.upper()


def subset(is_reg: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        is_reg=is_reg, enable_wildcard=True, keep_tokens_separator="", secondary_separator=None, caption_separator=","
    )


def record(path: str, caption: str = "", *, is_reg: bool = False, bucket: tuple[int, int] = (8, 8)) -> SimpleNamespace:
    return SimpleNamespace(
        absolute_path=path,
        caption=caption,
        is_reg=is_reg,
        bucket_reso=bucket,
        latents=None,
        latents_npz=None,
        num_repeats=2,
    )


@pytest.mark.parametrize(
    ("caption", "is_reg", "shown"),
    [
        ("a cat", False, "A CAT in zorvex style"),
        ("a cat, zorvex", False, "A CAT, ZORVEX"),
        ("", False, "zorvex style"),
        ("dropped", False, ""),
        ("a cat", True, "A CAT"),
    ],
)
def test_the_trigger_goes_into_captions_after_all_that_varies_them(caption: str, is_reg: bool, shown: str) -> None:
    dataset = Dataset()
    put_trigger(dataset, "zorvex")
    assert dataset.process_caption(subset(is_reg), caption) == shown


def test_pictures_of_an_epoch_are_counted_with_their_repeats_and_by_size() -> None:
    learned = Dataset(record("a"), record("b", bucket=(16, 8)), record("c", is_reg=True))
    counted = GuestPictures.of([learned, Dataset(record("d")), Dataset(record("e"), is_training_dataset=False)])
    assert counted.sizes == {"8x8": 4, "16x8": 2}
    assert (counted.reg_images, counted.batches_per_epoch) == (2, 6)


def test_cached_text_outputs_are_forgotten_in_memory_and_on_disk() -> None:
    dataset, strategy = Dataset(record("a"), record("b")), object()
    assert not forget_text_outputs(dataset)
    dataset.text_encoder_output_caching_strategy = strategy
    dataset.image_data["a"].text_encoder_outputs, dataset.image_data["b"].text_encoder_outputs_npz = [1], "b.npz"
    assert forget_text_outputs(dataset)
    assert dataset.text_encoder_output_caching_strategy is None
    for info in dataset.image_data.values():
        assert (info.text_encoder_outputs, info.text_encoder_outputs_npz) == (None, None)


def test_a_dataset_with_trigger_can_be_sent_to_another_process() -> None:
    dataset = Dataset(record("a", "a cat"))
    put_trigger(dataset, "zorvex")
    sent = pickle.loads(pickle.dumps(dataset))
    assert sent.process_caption(subset(), "a cat") == "A CAT in zorvex style"


def test_regularisation_and_validation_pictures_are_no_pictures_of_the_style() -> None:
    training = Dataset(record("a", "one"), record("b", "two", is_reg=True), record("c", "three"))
    held_out = Dataset(record("d", "four"), is_training_dataset=False)
    pictures = GuestPictures.of([training, held_out])
    assert [picture.path.name for picture in pictures.pictures] == ["a", "c"]


def test_contents_are_first_variants_without_the_trigger() -> None:
    captions = ["{a red|a blue} cat in zorvex style", "a red cat", "zorvex style"]
    pictures = GuestPictures.of([Dataset(*(record(str(i), caption) for i, caption in enumerate(captions)))])
    assert pictures.contents("zorvex") == ("a red cat", "")
    assert pictures.contents("other") == ("a red cat in zorvex style", "a red cat", "zorvex style")


def halves(path: Path, size: tuple[int, int] = (24, 8)) -> Path:
    """Black at both ends, white in the middle third."""
    image = Image.new("RGB", size)
    image.paste("white", (size[0] // 3, 0, 2 * size[0] // 3, size[1]))
    image.save(path)
    return path


def mean_of(images: Tensor) -> Tensor:
    return images.mean(dim=1, keepdim=True)


def test_an_uncached_latent_is_that_of_the_middle_of_the_picture(tmp_path: Path) -> None:
    path = halves(tmp_path / "a.png")
    picture = GuestPicture(record(str(path)), subset(), Dataset())
    assert picture.latent(mean_of, 3.0).shape == (1, 8, 8)
    torch.testing.assert_close(picture.latent(mean_of, 3.0), torch.ones(1, 8, 8))


def test_cached_latents_are_scaled() -> None:
    info = record("nowhere")
    info.latents = torch.full((4, 1, 1), 2.0, dtype=torch.float16)
    torch.testing.assert_close(GuestPicture(info, subset(), Dataset()).latent(mean_of, 0.5), torch.ones(4, 1, 1))


def test_latents_on_disk_are_read_by_the_trainers_own_reader() -> None:
    info, dataset = record("nowhere", bucket=(16, 8)), Dataset()
    info.latents_npz = "a.npz"
    asked: list[object] = []

    def load(path: str, bucket: tuple[int, int]) -> tuple[object, ...]:
        asked.append((path, bucket))
        return torch.full((4, 1, 2), 2.0).numpy(), None

    dataset.latents_caching_strategy = SimpleNamespace(load_latents_from_disk=load)
    torch.testing.assert_close(GuestPicture(info, subset(), dataset).latent(mean_of, 0.5), torch.ones(4, 1, 2))
    assert asked == [("a.npz", (16, 8))]


def test_the_fingerprint_is_that_of_bytes_and_captions(tmp_path: Path) -> None:
    one, other = halves(tmp_path / "one.png"), halves(tmp_path / "other.png", (48, 8))

    def fingerprint(*rows: tuple[Path, str]) -> str:
        return GuestPictures.of([Dataset(*(record(str(path), caption) for path, caption in rows))]).fingerprint

    whole = fingerprint((one, "a"), (other, "b"))
    assert whole == fingerprint((other, "b"), (one, "a"))
    moved = one.rename(tmp_path / "moved.png")
    assert whole == fingerprint((moved, "a"), (other, "b"))
    assert whole != fingerprint((moved, "a"), (other, "c"))
    assert whole != fingerprint((moved, "a"))
