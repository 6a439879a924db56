"""A dataset file becomes styles in order; a mistake in it names file, table and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.config.dataset_toml import FRONT_END_KEYS, KEYS, NOT_HONOURED, read_dataset_config
from museum_plugin.config.schema import StyleData
from museum_plugin.errors import ConfigError

ONE = '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "img"\n'


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("img", "more"):
        (tmp_path / name).mkdir()
    (tmp_path / "m.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def read(text: str, **defaults: object) -> tuple[StyleData, ...]:
    path = Path("data.toml")
    path.write_text(text, encoding="utf-8")
    return read_dataset_config(path, defaults)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(text)
    return str(error.value)


def dataset(style: str, trigger: str | None = None, folder: str = "img") -> str:
    lines = ["[[datasets]]", "resolution = 64", f'style = "{style}"']
    lines += [f'trigger = "{trigger}"'] if trigger else []
    return "\n".join([*lines, "[[datasets.subsets]]", f'image_dir = "{folder}"\n'])


COMMUNITY = """[general]
shuffle_caption = true
caption_extension = 'txt'
keep_tokens = 1
num_repeats = 2
enable_bucket = true
caption_dropout_every_n_epochs = 0
[[datasets]]
resolution = [768, 512]
keep_tokens = 3
  [[datasets.subsets]]
  image_dir = 'img'
  class_tokens = 'ink drawing'
  keep_tokens = 5
  shuffle_caption = false
  [[datasets.subsets]]
  image_dir = 'more'
  is_reg = true
"""


def test_a_community_file_is_read() -> None:
    (style,) = read(COMMUNITY, keep_tokens=9, batch_size=4, flip_aug=True, enable_bucket=False)
    (data,) = style.datasets
    first, second = data.subsets

    assert (style.name, style.trigger) == (None, None)
    assert (data.resolution, data.batch_size, data.enable_bucket) == ((768, 512), 4, True)
    assert (first.image_dir, first.class_tokens, first.num_repeats) == (Path("img"), "ink drawing", 2)
    assert (first.caption_extension, first.flip_aug, second.is_reg) == (".txt", True, True)
    assert (first.keep_tokens, second.keep_tokens) == (5, 3)
    assert (first.shuffle_caption, second.shuffle_caption) == (False, True)


@pytest.mark.parametrize("level", ["flags", "general", "dataset", "subset"])
def test_the_nearest_level_wins(level: str) -> None:
    levels = ["flags", "general", "dataset", "subset"]
    said = {name: i for i, name in enumerate(levels) if i <= levels.index(level)}
    lines = {name: f"keep_tokens = {i}" if name in said else "" for i, name in enumerate(levels)}
    text = f"""[general]\n{lines["general"]}\n[[datasets]]\nresolution = 64\n{lines["dataset"]}
[[datasets.subsets]]\nimage_dir = "img"\n{lines["subset"]}\n"""

    (style,) = read(text, keep_tokens=0)

    assert style.datasets[0].subsets[0].keep_tokens == levels.index(level)


def test_json_with_null_and_toml_agree() -> None:
    table = {"general": None, "datasets": [{"resolution": "64", "subsets": [{"image_dir": "img", "is_reg": None}]}]}
    del table["general"]
    Path("data.json").write_text(json.dumps(table), encoding="utf-8")

    assert read_dataset_config(Path("data.json"), {}) == read(ONE)


def test_an_empty_general_and_inline_subsets_are_read() -> None:
    (style,) = read('\ufeffgeneral = {}\n[[datasets]]\nresolution = 64\nsubsets = [{ image_dir = "img" }]\n')

    assert style.datasets[0].subsets[0].image_dir == Path("img")


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"style", "trigger"}))
def test_every_honoured_key_reaches_the_schema(key: str) -> None:
    values = {
        "resolution": ("[128, 96]", (128, 96)),
        "image_dir": ('"more"', Path("more")),
        "metadata_file": ('"m.json"', Path("m.json")),
        "caption_extension": ('".cap"', ".cap"),
        "bucket_reso_steps": ("8", 8),
        "resize_interpolation": ('"area"', "area"),
        "face_crop_aug_range": ("[2, 4.5]", (2.0, 4.5)),
        "skip_image_resolution": ("[32, 48]", (32, 48)),
        "conditioning_data_dir": ('"more"', Path("more")),
    }
    default = {"to_bool": ("true", True), "to_int": ("300", 300), "to_float": ("0.5", 0.5)}
    text, value = values.get(key) or default.get(KEYS[key].convert.__name__, ('"x"', "x"))
    lines = {"resolution": "resolution = 64", "image_dir": 'image_dir = "img"', key: f"{key} = {text}"}
    in_subset = [line for name, line in lines.items() if "S" in KEYS[name].levels]
    in_dataset = [line for name, line in lines.items() if "S" not in KEYS[name].levels]

    (style,) = read("\n".join(["[[datasets]]", *in_dataset, "[[datasets.subsets]]", *in_subset]))

    owner = style.datasets[0].subsets[0] if "S" in KEYS[key].levels else style.datasets[0]
    assert getattr(owner, key) == value


def test_styles_keep_their_order_and_gather_their_datasets() -> None:
    styles = read(dataset("ink", "nlwx") + dataset("ink", folder="more") + dataset("dots", "bsgo") + dataset("ink"))

    assert [(s.name, s.trigger, len(s.datasets)) for s in styles] == [("ink", "nlwx", 3), ("dots", "bsgo", 1)]
    assert [d.subsets[0].image_dir for d in styles[0].datasets] == [Path("img"), Path("more"), Path("img")]


def test_subsets_of_different_styles_split_their_dataset() -> None:
    text = dataset("ink", "nlwx") + '[[datasets.subsets]]\nimage_dir = "more"\nstyle = "dots"\ntrigger = "bsgo"\n'

    styles = read(text)

    assert [(s.name, s.trigger) for s in styles] == [("ink", "nlwx"), ("dots", "bsgo")]
    assert [s.datasets[0].subsets[0].image_dir for s in styles] == [Path("img"), Path("more")]
    assert styles[0].datasets[0].resolution == styles[1].datasets[0].resolution == (64, 64)


def test_several_styles_may_all_take_the_next_free_word() -> None:
    assert [style.trigger for style in read(dataset("ink", "AUTO") + dataset("dots", "auto"))] == ["auto", "auto"]


SUBSET = "data.toml: datasets[0].subsets[0]: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + "num_repeat = 2", SUBSET + "'num_repeat' is unknown; did you mean \"num_repeats\"?"),
        (ONE + "zzz = 2", SUBSET + "'zzz' is unknown"),
        (ONE + "caption_ext = '.txt'", SUBSET + "'caption_ext' is unknown; did you mean \"caption_extension\"?"),
        (ONE + "dataset_repeats = 2", SUBSET + "'dataset_repeats' is unknown; did you mean \"num_repeats\"?"),
        (ONE + "Flip-Aug = true", SUBSET + "'Flip-Aug' is unknown; "
         'did you mean "flip_aug"?'),
        ("[[datasets]]\nresolution = 64\n[[datasets.subset]]\nimage_dir = 'img'", "data.toml: datasets[0]: 'subset' is "
         'unknown; did you mean "subsets"?'),
        ("[[dataset]]\nresolution = 64\n", "data.toml: 'dataset' is unknown at the top, allowed: general, datasets; "
         'did you mean "datasets"?'),
        ("[dataset]\nresolution = 64\n", "data.toml: 'dataset' is unknown at the top, allowed: general, datasets; "
         'did you mean "datasets"?'),
        (ONE + "style = 'a/b'", "data.toml: style: found 'a/b'; a name has up to 63 letters, digits, spaces and "
         "_ . + - (it names files)"),
        ("[general]\ncache_latents = true\n" + ONE, "data.toml: general: 'cache_latents' is unknown in a dataset file; "
         "it is a flag: give it on the command line or in a --config_file"),
        ("[general]\ntrain_batch_size = 2\n" + ONE, "data.toml: general: 'train_batch_size' is unknown; "
         'did you mean "batch_size"?'),
        ("[general]\nname = 'x'\n" + ONE, "data.toml: general: 'name' is unknown"),
        (ONE.replace("64", "64\nis_reg = true"), "data.toml: datasets[0]: 'is_reg' does not belong here; put it in "
         "[[datasets.subsets]]"),
        (ONE + "resolution = 64", SUBSET + "'resolution' does not belong here; put it in [general] or [[datasets]]"),
        ("[general]\nstyle = 'a'\n" + ONE, "data.toml: general: 'style' does not belong here; put it in [[datasets]] "
         "or [[datasets.subsets]]"),
        ("[generals]\n" + ONE, "data.toml: 'generals' is unknown at the top, allowed: general, datasets; "
         'did you mean "general"?'),
        (ONE + "flip_aug = 'yes'", SUBSET + "flip_aug: found 'yes', allowed: true, false"),
        (ONE + "enable_wildcard = 3", SUBSET + "enable_wildcard: found 3, allowed: true, false"),
        (ONE + "num_repeats = 0", "data.toml: num_repeats is below 1 in datasets[0].subsets[0], so no picture is left"),
        (ONE + "keep_tokens = -1", SUBSET + "keep_tokens: found -1, must be 0 or more"),
        (ONE + "resize_interpolation = 'lanzcos'", SUBSET + "resize_interpolation: found 'lanzcos', allowed: lanczos, "
         'nearest, bilinear, linear, bicubic, cubic, area, box; did you mean "lanczos"?'),
        (ONE + "face_crop_aug_range = [4, 2]", SUBSET + "face_crop_aug_range: found (4.0, 2.0), must be two numbers "
         "above 0, the smaller one first"),
        (ONE + "face_crop_aug_range = 4", SUBSET + 'face_crop_aug_range: found 4, allowed: [2.0, 4.0] or "2.0,4.0" '
         "(from, to)"),
        (ONE + "alpha_mask = true\nconditioning_data_dir = 'more'", SUBSET + "alpha_mask: cannot go with "
         "conditioning_data_dir (more); keep one of them"),
        (ONE.replace("64", "64\nskip_image_resolution = 0"), "data.toml: datasets[0]: skip_image_resolution: found "
         "(0, 0), must be 1 or more"),
        (ONE.replace("64", "64\nvalidation_split = 1.0"), "data.toml: datasets[0]: validation_split: found 1.0, must "
         "be 0 or more and below 1"),
        (ONE + "style = ' '", SUBSET + "style: found ' ', allowed: a name that is not empty"),
        (ONE.replace("img", "gone"), SUBSET + 'image_dir: no folder "gone" (looked in the current folder and in .)'),
        (ONE.replace("img", ""), SUBSET + "image_dir: found '', allowed: a path"),
        (ONE.replace('image_dir = "img"', ""), SUBSET + "image_dir is missing; name the folder of the pictures"),
        (ONE.replace("resolution = 64", ""), "data.toml: datasets[0]: resolution is missing; add for example "
         "resolution = 512, or give --resolution"),
        (ONE.replace("64", "4"), "data.toml: datasets[0]: resolution: found (4, 4), must be at least 8 pixels"),
        (ONE.replace("64", "64\nmin_bucket_reso = 2048"), "data.toml: datasets[0]: min_bucket_reso: found 2048, "
         "must lie between 1 and max_bucket_reso (1024)"),
        (ONE + 'metadata_file = "gone.json"', SUBSET + 'metadata_file: no file "gone.json"'),
        (ONE + 'metadata_file = "m.json"\nis_reg = true', SUBSET + "is_reg: cannot go with metadata_file; "
         "regularisation pictures are those of a folder"),
        (ONE + '[[datasets.subsets]]\nmetadata_file = "m.json"', "data.toml: datasets[0]: subsets with and without a "
         "metadata_file (fine-tuning and DreamBooth) cannot share a [[datasets]]; give each kind one of its own"),
        ("[general]\n", "data.toml: datasets is empty; at least one [[datasets]] is needed"),
        ("[[datasets]]\n", "data.toml: datasets[0].subsets is empty; at least one [[datasets.subsets]] with an "
         "image_dir is needed"),
        ("datasets = 3", "data.toml: datasets: found 3, allowed: [[datasets]] tables"),
        ("datasets = [3]", "data.toml: datasets[0]: found 3, allowed: a table"),
        (dataset("ink") + ONE, "data.toml: style is missing in some datasets while others name 'ink'"),
        (dataset("ink", "NLWX") + dataset("dots", "nlwx"), "data.toml: trigger 'nlwx' is used by two styles, "
         "'ink' and 'dots'"),
        (dataset("ink", "nlwx") + dataset("ink", "bsgo"), "data.toml: datasets[1].subsets[0]: trigger: found 'bsgo', "
         "but style 'ink' already has 'nlwx'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_exactly(text: str, message: str) -> None:
    assert refusal(text) == message


def test_what_is_not_honoured_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    read("[general]\ncache_info = true\n" + ONE + "cache_info = true\n")

    (message,) = caplog.messages
    assert message.startswith("data.toml: cache_info: ")


def test_what_is_not_honoured_but_at_its_default_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    read(ONE + "cache_info = false\ncustom_attributes = {}\n")

    assert caplog.messages == []
    assert all(key.instead for key in NOT_HONOURED.values())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cache_info = true", "cache_info: captions and sizes are read anew at every start, so that none is out of "
         "date"),
        ("custom_attributes = { diff_output_preservation = true }", "custom_attributes: nothing reads them here; what "
         "diff_output_preservation is for, --method does"),
    ],
)  # fmt: skip
def test_what_is_done_instead_is_said(caplog: pytest.LogCaptureFixture, line: str, message: str) -> None:
    read(f"{ONE}{line}\n")

    assert caplog.messages == [f"data.toml: {message}"]


@pytest.mark.parametrize("value", ["1", "1.0", "0.5"])
def test_a_multiplier_is_told_unless_it_is_one(caplog: pytest.LogCaptureFixture, value: str) -> None:
    read(f"[general]\nnetwork_multiplier = {value}\ncustom_attributes = {{}}\n{ONE}")

    expected = "data.toml: network_multiplier: the LoRA is trained at its full strength; sd-scripts reads this key"
    assert [message.startswith(expected) for message in caplog.messages] == ([True] if value == "0.5" else [])


def test_keys_of_front_ends_pass_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    general = "[general]\nmax_token_length = 225\nmultires_training = true\n"

    read(general + ONE + 'name = "my pictures"\nrandom_crop_padding_percent = 0.05\n')

    assert caplog.messages == [
        "data.toml: keys of training front ends that mean nothing in a dataset file: max_token_length, "
        "multires_training, name, random_crop_padding_percent"
    ]


def test_no_key_is_both_honoured_and_not() -> None:
    assert not set(KEYS) & set(NOT_HONOURED)
    assert not set(FRONT_END_KEYS) & {*KEYS, *NOT_HONOURED}


def test_pictures_beside_the_file_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.toml").write_text(ONE, encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    (style,) = read_dataset_config(tmp_path / "data.toml", {})

    assert style.datasets[0].subsets[0].image_dir == tmp_path / "img"


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'^--dataset_config: found "data.yaml", allowed: a .toml or .json file$'):
        read_dataset_config(Path("data.yaml"), {})


def test_a_metadata_file_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nmetadata_file = "m.json"\n'
    (tmp_path / "data.toml").write_text(text + ONE, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "img")

    (style,) = read_dataset_config(tmp_path / "data.toml", {})

    captioned, folder = (dataset.subsets[0] for dataset in style.datasets)
    assert (captioned.image_dir, captioned.metadata_file) == (tmp_path, tmp_path / "m.json")
    assert (folder.image_dir, folder.metadata_file) == (tmp_path / "img", None)


def test_a_subset_that_is_shown_no_times_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Its folder need not be there, as in sd-scripts."""
    text = "[[datasets]]\nresolution = 64\n" + "[[datasets.subsets]]\nimage_dir = '{}'\nnum_repeats = {}\n" * 3
    Path("d.toml").write_text(text.format("gone", 0, "img", 2, "img", -1), encoding="utf-8")

    (style,) = read_dataset_config(Path("d.toml"), {})

    assert [(subset.image_dir, subset.num_repeats) for subset in style.datasets[0].subsets] == [(Path("img"), 2)]
    assert caplog.messages == [
        "d.toml: datasets[0].subsets[0]: left out, since its num_repeats is 0",
        "d.toml: datasets[0].subsets[2]: left out, since its num_repeats is -1",
    ]
