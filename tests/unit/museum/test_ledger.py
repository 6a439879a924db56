"""The ledger: what is recorded comes back, and what cannot be read is refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from museum_plugin.errors import MuseumFileError, TrainingError
from museum_plugin.museum.ledger import FORMAT_VERSION, BaseRecord, Ledger, NetworkRecord, StyleRecord


def record(name: str, *words: str, **changes: Any) -> StyleRecord:
    values = {
        "name": name,
        "trigger": " ".join(words),
        "words": words,
        "token_ids": tuple(range(7, 7 + len(words))),
        "taught_at": "2026-03-04T05:06:07+00:00",
        "steps": 400,
        "pictures": 12,
        "data_fingerprint": "ab12",
        "method": "museum",
        "weights": {"denoising": 1.0, "function_lock": 3.0},
        "settings": {"network_dim": 16, "cache_latents": True, "vae": None, "optimizer_args": ["betas=0.9,0.99"]},
        "scores": {name: 0.75},
        "signature": {"mean": [0.1, -2.5e-8], "covariance": [[1.0], [0.5, 2.0]]},
    }
    return StyleRecord(**{**values, **changes})


def two_styles() -> Ledger:
    base = BaseRecord(fingerprint="f00d", family="sd1", prediction_type="epsilon", name="pocket")
    network = NetworkRecord(rank=16, alpha=8.0, targets=("lora_unet_a", "lora_unet_b"))
    ledger = Ledger.new(base, network).with_style(record("hatch", "nlwx", "rctid"))
    return ledger.with_style(record("Größe 水彩", "bsgo", scores={"hatch": 0.5, "Größe 水彩": 0.25}))


def changed(path: tuple[Any, ...], value: Any) -> str:
    """The JSON of a ledger with one value replaced, or left out where value is `...`."""
    data = json.loads(two_styles().to_json())
    place = data
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(data)


def test_everything_comes_back() -> None:
    ledger = two_styles()

    again = Ledger.from_json(ledger.to_json())

    assert again == ledger
    assert again.to_json() == ledger.to_json()
    assert again.format_version == FORMAT_VERSION


def test_text_does_not_depend_on_the_order_of_tables() -> None:
    one, two = (replace(record("a", "x"), weights=w) for w in ({"p": 1.0, "q": 2.0}, {"q": 2.0, "p": 1.0}))
    ledger = two_styles()
    assert ledger.with_style(one).to_json() == ledger.with_style(two).to_json()


def test_every_new_museum_has_its_own_id() -> None:
    ledger = two_styles()
    ids = {Ledger.new(ledger.base, ledger.network).museum_id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(i) == 32 and int(i, 16) for i in ids)


@pytest.mark.parametrize("place", [(), ("base",), ("network",), ("styles", 1)])
def test_unknown_fields_survive(place: tuple[Any, ...]) -> None:
    text = changed((*place, "from_the_future"), {"deep": [1, None, "x"]})

    data = json.loads(Ledger.from_json(text).to_json())

    for step in place:
        data = data[step]
    assert data["from_the_future"] == {"deep": [1, None, "x"]}


def test_a_known_field_is_never_hidden_by_an_extra_one() -> None:
    ledger = replace(two_styles(), extra={"museum_id": "other"})
    assert Ledger.from_json(ledger.to_json()).museum_id == ledger.museum_id


def test_paths_and_array_numbers_are_written_as_plain_values() -> None:
    settings = {"image_dir": Path("pictures") / "a"}
    style = record(
        "c", "coyi", settings=settings, signature={"mean": np.array([0.5, 1.5])}, weights={"w": np.float32(2)}
    )
    again = Ledger.from_json(two_styles().with_style(style).to_json()).style("c")
    assert again.settings == {"image_dir": str(Path("pictures") / "a")}
    assert again.signature == {"mean": [0.5, 1.5]}
    assert again.weights == {"w": 2.0}


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="a ledger cannot hold .* of type object"):
        two_styles().with_style(record("c", "coyi", settings={"x": object()})).to_json()


@pytest.mark.parametrize("field", ["scores", "weights", "signature", "settings"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(field: str, value: float) -> None:
    with pytest.raises(TrainingError, match="style 'c': a number in its record is not finite"):
        two_styles().with_style(record("c", "coyi", **{field: {"x": value}})).to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", r"found \[\], allowed: a table"),
        (changed(("museum_id",), ...), "ledger: field 'museum_id' is missing"),
        (changed(("styles", 1, "words"), ...), r"ledger: styles\[1\]: field 'words' is missing"),
        (changed(("base", "family"), 3), "ledger: base: family: found 3, allowed: a text"),
        (changed(("network", "rank"), True), "ledger: network: rank: found True, allowed: a whole number"),
        (changed(("network", "rank"), -4), "ledger: network: rank: found -4, allowed: a whole number"),
        (changed(("network", "targets"), "lora"), "targets: found 'lora', allowed: a list of texts"),
        (changed(("styles",), {}), "styles: found {}, allowed: a list of tables"),
        (changed(("styles", 0, "steps"), "many"), "steps: found 'many', allowed: a whole number"),
        (changed(("styles", 0, "settings"), []), r"settings: found \[\], allowed: a table"),
        (changed(("styles", 0, "scores"), {"a": "high"}), "scores: found {'a': 'high'}, allowed: a table of numbers"),
        (changed(("styles", 0, "token_ids"), [1]), "style 'hatch': 2 words but 1 token_ids"),
        (changed(("styles", 1, "name"), "hatch"), "style 'hatch' is already in this museum"),
        (changed(("network", "alpha"), float("nan")), "NaN is not a number"),
        (two_styles().to_json().replace("-2.5e-08", "1e999"), "1e999 is not a number"),
        (changed(("format_version",), ...), "format_version: found None"),
        (changed(("format_version",), "1"), "format_version: found '1'"),
    ],
)
def test_a_damaged_ledger_is_refused(text: str, message: str) -> None:
    with pytest.raises(MuseumFileError, match=message):
        Ledger.from_json(text)


def test_a_newer_format_is_refused() -> None:
    newer = changed(("format_version",), FORMAT_VERSION + 2)
    with pytest.raises(MuseumFileError) as raised:
        Ledger.from_json(newer)
    for part in (f"found format version {FORMAT_VERSION + 2}", f"known up to {FORMAT_VERSION}", "update Museum"):
        assert part in str(raised.value)


def test_an_older_format_is_migrated() -> None:
    data = json.loads(changed(("format_version",), FORMAT_VERSION - 1))
    data["id"] = data.pop("museum_id")

    def rename_id(old: dict[str, Any]) -> dict[str, Any]:
        return {**{k: v for k, v in old.items() if k != "id"}, "museum_id": old["id"]}

    migrated = Ledger.from_json(json.dumps(data), migrations={FORMAT_VERSION - 1: rename_id})

    assert migrated.museum_id == data["id"]
    assert migrated.format_version == FORMAT_VERSION
    assert migrated.extra == {}


def test_an_older_format_without_a_migration_is_refused() -> None:
    old = changed(("format_version",), FORMAT_VERSION - 1)
    with pytest.raises(MuseumFileError, match=f"found format version {FORMAT_VERSION - 1}, which .* cannot read"):
        Ledger.from_json(old, migrations={})


def test_style_by_name() -> None:
    assert two_styles().style("hatch").words == ("nlwx", "rctid")
    with pytest.raises(MuseumFileError, match="no style 'hatsh' in this museum; did you mean \"hatch\".*it has: hatch"):
        two_styles().style("hatsh")


@pytest.mark.parametrize(
    ("style", "message"),
    [
        (record("hatch", "coyi"), "style 'hatch' is already in this museum"),
        (record("new", "coyi", "rctid"), "style 'new': slot word 'rctid' already belongs to style 'hatch'"),
    ],
)
def test_names_and_slot_words_are_given_once(style: StyleRecord, message: str) -> None:
    with pytest.raises(MuseumFileError, match=message):
        two_styles().with_style(style)


def test_with_style_leaves_the_ledger_it_came_from() -> None:
    before = two_styles()
    after = before.with_style(record("c", "coyi"))
    assert [r.name for r in before.styles] == ["hatch", "Größe 水彩"]
    assert [r.name for r in after.styles] == ["hatch", "Größe 水彩", "c"]


def test_retention_matrix_is_the_lower_triangle_of_scores() -> None:
    later = record("c", "coyi", scores={"hatch": 0.4, "c": 0.9, "Größe 水彩": 0.2})
    unscored = record("d", "ssnhq", scores={"d": 0.6})
    names, rows = two_styles().with_style(later).with_style(unscored).retention_matrix()
    assert names == ("hatch", "Größe 水彩", "c", "d")
    assert rows == ((0.75,), (0.5, 0.25), (0.4, 0.2, 0.9), (None, None, None, 0.6))
