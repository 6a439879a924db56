"""The order of what a card is told when tensors are sent: a model of its streams, since there is no card here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from museum_plugin.base.carrier import CopyStream, carrier_to

CPU = torch.device("cpu")


class Streams:
    """Streams as sets of what is known to be done before whatever is queued next."""

    def __init__(self) -> None:
        self.compute = Stream(self, "compute")
        self.now = self.compute
        self.made: list[Stream] = []

    def new(self, _device: torch.device) -> Stream:
        self.made.append(Stream(self, "copies"))
        return self.made[-1]

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.now = self.now, stream
        yield
        self.now = before


class Stream:
    def __init__(self, streams: Streams, name: str) -> None:
        self.streams, self.name = streams, name
        self.before: set[object] = set()

    def queue(self, work: object) -> None:
        self.before.add(work)

    def wait_stream(self, other: Stream) -> None:
        self.before |= other.before

    def record_event(self) -> set[object]:
        return set(self.before)

    def wait_event(self, event: set[object]) -> None:
        self.before |= event


class Copying(TorchDispatchMode):
    """Notes on which stream a tensor is written, and what is done before."""

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self.streams = streams
        self.copies: list[tuple[str, set[object], bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.copy_.default:
            now = self.streams.now
            self.copies.append((now.name, set(now.before), bool(args[2] if len(args) > 2 else False)))
            now.queue(("copy", len(self.copies)))
        return found


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    streams = Streams()
    monkeypatch.setattr(torch.cuda, "Stream", streams.new)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: streams.now)
    monkeypatch.setattr(torch.cuda, "stream", streams.on)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor.clone())
    return streams


def test_a_copy_waits_for_what_was_queued_and_is_waited_for_by_what_comes_after(streams: Streams) -> None:
    carrier, weights = CopyStream(CPU), [torch.ones(3), torch.zeros(2, 2)]
    kept = [carrier.keep(weight) for weight in weights]
    streams.compute.queue("may still read the memory that is used again")
    with Copying(streams) as copying:
        load = carrier.send(kept)
    streams.compute.queue("computed meanwhile")
    assert [(name, no_waiting) for name, _, no_waiting in copying.copies] == [("copies", True)] * 2
    for _, before, _ in copying.copies:
        assert "may still read the memory that is used again" in before
        assert "computed meanwhile" not in before
    assert ("copy", 1) not in streams.compute.before, "nothing waits before it has to"
    load.arrive()
    assert {("copy", 1), ("copy", 2)} <= streams.compute.before
    assert all(torch.equal(found, weight) for found, weight in zip(load.tensors, weights, strict=True))


def test_a_load_is_waited_for_alone_and_not_the_one_behind_it(streams: Streams) -> None:
    carrier = CopyStream(CPU)
    kept = [carrier.keep(torch.ones(2)), carrier.keep(torch.zeros(2))]
    with Copying(streams):
        first, second = carrier.send(kept[:1]), carrier.send(kept[1:])
    first.arrive()
    assert ("copy", 1) in streams.compute.before
    assert ("copy", 2) not in streams.compute.before
    second.arrive()
    assert ("copy", 2) in streams.compute.before


def test_all_loads_share_one_stream_and_a_layout_is_kept(streams: Streams) -> None:
    carrier = CopyStream(CPU)
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    for _ in range(2):
        (found,) = carrier.send([carrier.keep(weight)]).tensors
    assert len(streams.made) == 1
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_where_no_more_can_be_pinned_a_tensor_is_kept_as_it_is(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_tensor: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: out of memory\nCompile with ...")

    carrier, weight = CopyStream(CPU), torch.ones(3)
    assert carrier.keep(weight) is not weight
    monkeypatch.setattr(Tensor, "pin_memory", refuse)
    assert carrier.keep(weight) is weight
    assert torch.equal(carrier.send([carrier.keep(weight)]).tensors[0], weight)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["CUDA error: out of memory"]


def test_a_cuda_card_gets_a_stream_of_its_own(streams: Streams) -> None:
    assert isinstance(carrier_to(torch.device("cuda", 0)), CopyStream)
