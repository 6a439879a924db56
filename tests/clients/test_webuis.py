"""How A1111, Forge, SD.Next and InvokeAI find a slot in our exports, from the prompt to the vectors of its tokens."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AddedToken, CLIPTokenizer

from museum_plugin.base.encode import token_embedding
from tests.clients.conftest import STYLES, Exhibit

Embeddings = dict[str, dict[str, Tensor]]
"""Name -> tensor's name in the file -> (n, d)."""


def bundled(path: Path) -> Embeddings:
    """What A1111 and SD.Next take out of a LoRA file: the name ends at the next dot."""
    found: Embeddings = {}
    for key, tensor in load_file(path).items():
        first, _, rest = key.partition(".")
        if first == "bundle_emb":
            name, leaf = rest.split(".", 1)
            found.setdefault(name, {})[leaf] = tensor
    return found


def in_folder(path: Path) -> Embeddings:
    """What all take out of a folder of embeddings: the name is the file's."""
    return {file.stem: load_file(file) for file in path.iterdir()}


def for_encoder(tensors: Mapping[str, Tensor], encoder: str) -> Tensor:
    """By name of two, or the only one."""
    if set(tensors) == {"clip_l", "clip_g"}:
        return tensors[encoder]
    (only,) = tensors.values()
    return only


def by_tokens(
    prompt: str, tokenizer: CLIPTokenizer, table: nn.Embedding, embeddings: Mapping[str, Tensor]
) -> Iterator[Tensor]:
    """A1111 and Forge: the tokens of the longest name that stands at a place give way to its vectors."""
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    names = {name: tokenizer(name, add_special_tokens=False).input_ids for name in embeddings}
    place = 0
    while place < len(ids):
        here = [name for name, own in names.items() if ids[place : place + len(own)] == own]
        if here:
            name = max(here, key=lambda name: len(names[name]))
            yield embeddings[name]
            place += len(names[name])
        else:
            yield table.weight[ids[place]][None]
            place += 1


def by_new_tokens(
    prompt: str, tokenizer: CLIPTokenizer, table: nn.Embedding, embeddings: Mapping[str, Tensor], form: str, more: str
) -> Iterator[Tensor]:
    """SD.Next and InvokeAI: a new token for each vector, and the first one in the prompt stands for all."""
    grown = copy.deepcopy(tokenizer)
    rows, families = dict[int, Tensor](), dict[int, list[int]]()
    for name, vectors in embeddings.items():
        tokens = [form.format(name if i == 0 else more.format(name, i)) for i in range(len(vectors))]
        grown.add_tokens([AddedToken(token, normalized=False) for token in tokens])
        own = grown.convert_tokens_to_ids(tokens)
        families[own[0]] = own
        rows |= dict(zip(own, vectors, strict=True))
    for token in grown(prompt, add_special_tokens=False).input_ids:
        for each in families.get(token, [token]):
            yield (rows[each] if each in rows else table.weight[each])[None]


def trained(exhibit: Exhibit, style: str, prompt: str) -> list[Tensor]:
    """The embeddings of a prompt's tokens with the slots in place, for each text encoder."""
    with exhibit.museum.attached():
        return [
            token_embedding(encoder)(torch.tensor(tokenizer(prompt, add_special_tokens=False).input_ids))
            for tokenizer, encoder in zip(exhibit.base.tokenizers, exhibit.base.text_encoders, strict=True)
        ]


CLIENTS = {
    "a1111": (["a1111", "webui"], None, "{}", ""),
    "forge": ([], "forge", "{}", ""),
    "sdnext": (["sdnext", "webui"], None, "{}", "{}_{}"),
    "sdnext with side-cars": ([], "forge", "{}", "{}_{}"),
    "invoke": ([], "invoke", "<{}>", "{}-!pad-{}"),
}
"""Client -> exports with the slots in the LoRA file, one with side-cars, how a name is typed, names of more tokens."""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("style", STYLES)
def test_a_trigger_becomes_the_vectors_of_its_slot(exhibit: Exhibit, client: str, style: str) -> None:
    targets, with_sidecars, form, more = CLIENTS[client]
    phrase = exhibit.museum.phrase(style)
    found = [bundled(exhibit.lora(target)) for target in targets]
    found += [in_folder(exhibit.sidecar(style, with_sidecars).parent)] if with_sidecars else []
    prompt = f"a red cat in {phrase} style"
    asked = prompt.replace(phrase, form.format(phrase))
    for embeddings in found:
        assert set(embeddings) == {exhibit.museum.phrase(each) for each in STYLES}
        for number, name in enumerate(exhibit.base.family.slot_encoders):
            own = {each: for_encoder(tensors, name) for each, tensors in embeddings.items()}
            tokenizer = exhibit.base.tokenizers[number]
            table = token_embedding(exhibit.base.text_encoders[number])
            way = (
                by_new_tokens(asked, tokenizer, table, own, form, more)
                if more
                else by_tokens(asked, tokenizer, table, own)
            )
            torch.testing.assert_close(torch.cat(list(way)), trained(exhibit, style, prompt)[number], rtol=0, atol=0)


@pytest.mark.parametrize("style", STYLES)
def test_invoke_finds_the_trigger_between_its_brackets(exhibit: Exhibit, style: str) -> None:
    phrase = exhibit.museum.phrase(style)
    assert re.findall(r"<([a-zA-Z0-9., _-]+)>", f"a cat in <{phrase}> style") == [phrase]


@pytest.mark.parametrize("style", STYLES)
def test_comfyui_finds_a_sidecar_by_the_name_that_the_text_gives(exhibit: Exhibit, style: str) -> None:
    """`embedding:NAME` ends at the first space, so a name of two words stands nowhere."""
    phrase = exhibit.museum.phrase(style)
    files = {file.stem for file in exhibit.sidecar(style, "sidecars").parent.iterdir()}
    text = (exhibit.exports / "mine-sidecars" / "mine.txt").read_text(encoding="utf-8")
    files |= {new for _, new in re.findall(r"(\S[^,]*)\.safetensors renamed to (\S+)\.safetensors", text)}
    called = f"a cat in embedding:{'-'.join(phrase.split())} style"
    assert called.split("embedding:")[1].split()[0] in files
    assert (f"embedding:{phrase}".split("embedding:")[1].split()[0] in files) is (" " not in phrase)
