"""The table of clients: what was measured with their own code, and every rule by a file that breaks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from museum_plugin.errors import MuseumFileError
from museum_plugin.export.clients import CLIENTS, IN_FILE, NOT_AT_ALL, SIDECAR, Verdict, verdict_lines, verdicts
from museum_plugin.export.outline import Outline, read_outline
from museum_plugin.export.publish import lora_tensors, slots_by_phrase
from museum_plugin.export.targets import TARGETS
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.metadata import file_metadata
from tests.family_museums import family_museum, many_styles, style

TWO = (style("ink", "nlwx"), style("neon", "rctid", "bsgo"))


def outline(family: str, target: str, count: int | None = None, *, with_store: bool = True) -> Outline:
    """Of a file for a target."""
    content = family_museum(family, *(TWO if count is None else many_styles(count)))
    tensors = lora_tensors(content, TARGETS[target], with_store=with_store)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    return Outline("mine", shapes, file_metadata(content.ledger, "mine", {}), tuple(slots_by_phrase(content)))


def judged(given: Outline) -> dict[str, Verdict]:
    return {verdict.client: verdict for verdict in verdicts(given)}


def with_keys(given: Outline, **shapes: tuple[int, ...]) -> Outline:
    return replace(given, shapes={**given.shapes, **{key.replace("__", "."): shape for key, shape in shapes.items()}})


MEASURED = [
    # family, layout, then keys without a place in: ComfyUI, A1111, Forge, SD.Next
    ("sd1", "forge", (1, 1, 1, 1)),
    ("sdxl", "forge", (2, 2, 2, 2)),
    ("sd1", "webui", (4, 4, 6, 4)),
    ("sdxl", "webui", (6, 6, 10, 6)),
    ("sd1", "a1111", (3, 1, 3, 1)),
]


@pytest.mark.parametrize(("family", "target", "unmatched"), MEASURED)
def test_keys_without_a_place_are_counted_as_the_clients_themselves_count(
    family: str, target: str, unmatched: tuple[int, ...]
) -> None:
    found = judged(outline(family, target))
    assert tuple(found[client].unmatched for client in ("comfyui", "a1111", "forge", "sdnext")) == unmatched


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_file_for_webuis_works_in_all_that_can_take_a_slot_from_a_file(family: str) -> None:
    found = judged(outline(family, "webui"))
    for client in ("comfyui", "a1111", "sdnext"):
        assert (found[client].loads, found[client].triggers) == (True, IN_FILE)
    for client in ("forge", "forge-neo", "sd-scripts"):
        assert (found[client].loads, found[client].triggers) == (True, SIDECAR)
    assert not found["diffusers"].loads
    assert found["invoke"].loads is (family != "sdxl")


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("target", ["forge", "invoke", "diffusers"])
def test_what_is_for_sidecars_loads_everywhere(family: str, target: str) -> None:
    found = judged(outline(family, target, with_store=TARGETS[target].with_store))
    assert all(verdict.loads and verdict.triggers == SIDECAR for verdict in found.values())


@pytest.mark.parametrize(("family", "holds", "without_store"), [("sd1", 8, 9), ("sdxl", 3, 4)])
def test_forge_holds_as_many_styles_as_its_budget_of_keys(family: str, holds: int, without_store: int) -> None:
    for count, with_store in ((holds, True), (without_store, False)):
        assert judged(outline(family, "webui", count, with_store=with_store))["forge"].loads
        refused = judged(outline(family, "webui", count + 1, with_store=with_store))["forge"]
        assert (refused.loads, refused.triggers) == (False, NOT_AT_ALL)
        assert "at most 12 are allowed" in refused.reasons[0]


def test_forge_neo_refuses_more_than_half() -> None:
    given = outline("sd1", "forge")
    half = {f"strange{i}": (1,) for i in range(len(given.shapes) - 2)}
    assert judged(with_keys(given, **half))["forge-neo"].loads
    assert not judged(with_keys(given, **half, one_more=(1,)))["forge-neo"].loads


def test_forge_hides_a_file_that_does_not_say_its_architecture() -> None:
    given = outline("sd1", "forge")
    metadata = {key: text for key, text in given.metadata.items() if key != "modelspec.architecture"}
    assert not any("architecture" in reason for reason in judged(given)["forge"].reasons)
    assert any("architecture" in reason for reason in judged(replace(given, metadata=metadata))["forge"].reasons)


def test_an_embedding_table_under_a_layers_name_drops_the_lora_in_a1111_and_sdnext() -> None:
    given = with_keys(
        outline("sdxl", "forge"), lora_te1_text_model_embeddings_token_embedding__lora_up__weight=(49408, 1)
    )
    for client in ("a1111", "sdnext"):
        assert not judged(given)[client].loads
        assert "lora_te1_text_model_embeddings_token_embedding" in judged(given)[client].reasons[0]


def test_two_tensors_under_one_name_drop_the_lora_in_a1111_unless_they_are_sdxls() -> None:
    given = with_keys(outline("sd1", "a1111"), bundle_emb__nlwx__second=(1, 768))
    assert "bundled embedding 'nlwx' has 2 tensors" in judged(given)["a1111"].reasons[0]
    assert judged(outline("sdxl", "a1111"))["a1111"].loads
    third = with_keys(outline("sdxl", "a1111"), bundle_emb__nlwx__third=(1, 768))
    assert not judged(third)["a1111"].loads


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("museum.monet", "has a dot"),
        ("<monet>", "does not begin and end with a letter or digit"),
        ("(monet)", "does not begin and end with a letter or digit"),
        ("nobody", "is not bundled"),
    ],
)
def test_a_trigger_that_cannot_fire_is_named(trigger: str, said: str) -> None:
    given = outline("sd1", "a1111")
    for client in ("a1111", "sdnext"):
        verdict = judged(replace(given, triggers=(*given.triggers, trigger)))[client]
        assert verdict.loads
        assert verdict.triggers == SIDECAR
        assert any(said in reason and repr(trigger) in reason for reason in verdict.reasons)


def test_of_sdxl_both_encoders_must_be_bundled_and_patched() -> None:
    given = outline("sdxl", "webui")
    one = {key: shape for key, shape in given.shapes.items() if key != "bundle_emb.nlwx.clip_g"}
    assert "is not bundled for both" in judged(replace(given, shapes=one))["sdnext"].reasons[0]
    table = {key: shape for key, shape in given.shapes.items() if not key.startswith("text_encoders.clip_g")}
    verdict = judged(replace(given, shapes=table))["comfyui"]
    assert verdict.triggers == SIDECAR
    assert "clip_g" in verdict.reasons[0]


def test_a_table_of_another_length_is_no_patch() -> None:
    given = outline("sd1", "comfyui")
    shapes = {key: (49405, *shape[1:]) if 49408 in shape else shape for key, shape in given.shapes.items()}
    assert judged(given)["comfyui"].triggers == IN_FILE
    assert judged(replace(given, shapes=shapes))["comfyui"].triggers == SIDECAR


def test_invoke_takes_a_patched_table_only_beside_an_empty_change() -> None:
    given = outline("sd1", "webui")
    assert judged(given)["invoke"].loads
    without = {key: shape for key, shape in given.shapes.items() if key != "text_encoders.diff"}
    refused = judged(replace(given, shapes=without))["invoke"]
    assert "text_encoders.clip_l" in refused.reasons[0]
    assert not judged(with_keys(outline("sdxl", "forge"), text_encoders__diff=(1, 1)))["invoke"].loads


def test_invoke_refuses_sdxl_layers_under_two_kinds_of_names() -> None:
    given = with_keys(outline("sdxl", "forge"), lora_unet_down_blocks_1_attentions_0_proj_in__alpha=())
    assert "in one file" in judged(given)["invoke"].reasons[0]


def test_diffusers_tells_of_what_it_drops() -> None:
    given = outline("sd1", "diffusers", with_store=False)
    assert judged(given)["diffusers"].reasons == ()
    assert "about DoRA" in judged(outline("sd1", "forge"))["diffusers"].reasons[0]
    shapes = {key: shape for key, shape in given.shapes.items() if "out_proj" not in key}
    assert "1 layers q_proj of lora_te are dropped" in judged(replace(given, shapes=shapes))["diffusers"].reasons[0]


def test_a_version_that_the_metadata_do_not_tell_is_named() -> None:
    given = outline("sdxl", "a1111")
    assert not any("version" in reason for reason in judged(given)["a1111"].reasons)
    wrong = {**given.metadata, "ss_base_model_version": "sd_v1"}
    assert any("version" in reason for reason in judged(replace(given, metadata=wrong))["a1111"].reasons)
    assert any("version" in reason for reason in judged(replace(given, metadata={}))["a1111"].reasons)


def test_comfyui_calls_a_sidecar_by_a_name_without_spaces() -> None:
    (reason,) = [reason for reason in judged(outline("sd1", "forge"))["comfyui"].reasons if "side-car" in reason]
    assert "'rctid bsgo'" in reason
    assert not any("side-car" in reason for reason in judged(outline("sd1", "webui"))["comfyui"].reasons)


def test_a1111_says_nothing_of_keys_it_has_no_place_for() -> None:
    assert "4 keys not used, without a word" in judged(outline("sd1", "webui"))["a1111"].reasons
    assert "4 keys not used: 1 warning" in judged(outline("sd1", "webui"))["sdnext"].reasons


@pytest.mark.parametrize(
    ("trigger", "is_found"), [("a_b-c, d.e", True), ("été", False), ("it's", False), ("a+b", False)]
)
def test_invoke_finds_plain_names_alone_between_its_brackets(trigger: str, is_found: bool) -> None:
    given = replace(outline("sd1", "forge"), triggers=(trigger,))
    assert any(repr(trigger) in reason for reason in judged(given)["invoke"].reasons) is not is_found


FIRST = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_"
BASES = [  # layers and the widths they take in, metadata's family, what InvokeAI takes the file for
    ({f"{FIRST}attn2_to_k": 768, "lora_unet_down_blocks_0_resnets_0_time_emb_proj": 1280}, "sd1", "sd1"),
    ({f"{FIRST}attn2_to_v": 1024}, "sd2", "sd2"),
    ({"lora_te_text_model_encoder_layers_0_self_attn_k_proj": 1024}, "sd2", "sd2"),
    ({"lora_te1_text_model_encoder_layers_0_self_attn_k_proj": 768}, "sdxl", None),
    ({f"{FIRST}attn1_to_q": 320}, "sd1", None),
    ({"lora_unet_down_blocks_0_resnets_0_time_emb_proj": 1280, "lora_unet_mid_block_attn2_to_k": 768}, "sd1", "sdxl"),
    ({"lora_unet_input_blocks_7_1_transformer_blocks_9_attn1_to_q": 1280}, "sdxl", "sdxl"),
    ({"lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q": 640}, "sdxl", None),
    ({"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_v": 2048}, "sdxl", "sdxl"),
]


@pytest.mark.parametrize(("widths", "family", "taken_for"), BASES)
def test_invoke_takes_the_base_from_the_first_width_that_tells_it(
    widths: dict[str, int], family: str, taken_for: str | None
) -> None:
    versions = {"sd1": {}, "sd2": {"ss_v2": "True"}, "sdxl": {"ss_base_model_version": "sdxl_base_v1-0"}}
    given = Outline("mine", {f"{key}.lora_down.weight": (2, width) for key, width in widths.items()}, versions[family])
    reasons = judged(given)["invoke"].reasons
    told = f"taken for {taken_for}" if taken_for else "base not known"
    assert reasons == (() if taken_for == family else (f"{told}: set {family} in the model manager",))


def test_a_long_header_is_named_for_comfyui() -> None:
    given = replace(outline("sd1", "comfyui"), header_bytes=2**20)
    assert "1048576 bytes" in judged(given)["comfyui"].reasons[-1]
    assert "bytes" not in judged(replace(given, header_bytes=2**20 - 8))["comfyui"].reasons[-1]


def test_a_file_without_triggers_has_none_that_work_by_themselves() -> None:
    given = replace(outline("sd1", "webui"), triggers=())
    assert {verdict.triggers for verdict in verdicts(given)} == {SIDECAR, NOT_AT_ALL}


def test_a_file_on_the_disk_is_read_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_museum(path, family_museum("sdxl", *TWO), keep_history=0)
    given = read_outline(path)
    assert (given.name, given.family) == ("mine", "sdxl")
    assert given.triggers == ("nlwx", "rctid bsgo")
    assert given.shapes["bundle_emb_slots.clip_g.dora_scale"] == (6, 1280)
    assert given.header_bytes > 1000
    assert verdicts(given) == verdicts(replace(outline("sdxl", "forge"), header_bytes=given.header_bytes))
    path.write_bytes(b"broken")
    with pytest.raises(MuseumFileError, match="cannot be read"):
        read_outline(path)


def test_every_client_has_a_line() -> None:
    lines = verdict_lines(verdicts(outline("sdxl", "webui")))
    assert len(lines) == len(CLIENTS)
    assert lines[0] == "ComfyUI     loads, triggers work (6 keys not used: 6 warnings)"
    assert lines[5].startswith("InvokeAI    refuses it (a key of no SDXL layer: text_encoders.")
