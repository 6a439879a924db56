"""The next batches' pictures, opened in threads while the model works."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from torch import Tensor

from museum_plugin.data.dataset import Batch, StyleDataset
from museum_plugin.train.batch_order import BatchOrder


class BatchReader:
    """Batches in order, their pictures opened ahead of time.

    A batch is a pure function of its place and of how far the training is, so neither the number of threads nor
    their speed changes a number.
    """

    def __init__(self, dataset: StyleDataset, seed: int, order: BatchOrder, *, threads: int, steps: int = 0) -> None:
        """Nothing is opened yet.

        Args:
            threads: how many batches are opened ahead, each in a thread of its own; 0: batches come without images.
            steps: optimizer steps in all.
        """
        self._dataset = dataset
        self._seed = seed
        self._order = order
        self._threads = threads
        self._steps = steps
        self._pool = ThreadPoolExecutor(threads, "pictures") if threads else None
        self._ahead: dict[tuple[int, int], tuple[Batch, Future[Tensor]]] = {}

    def batch(self, step: int, micro: int = 0) -> Batch:
        """The batch of a micro-step, with its images if there are threads; the next ones are begun.

        Raises:
            DataError: a picture of this batch cannot be read.
        """
        place = (step, micro)
        if self._pool is None:
            return self.drawn(*place)
        for passed in [ahead for ahead in self._ahead if ahead < place]:  # the rest of a step that was left out
            self._ahead.pop(passed)[1].cancel()
        for ahead in islice(self._order.places_from(*place), self._threads + 1):
            if ahead not in self._ahead:
                batch = self.drawn(*ahead)
                self._ahead[ahead] = batch, self._pool.submit(self._dataset.images, batch)
        batch, images = self._ahead.pop(place)
        batch.images = images.result()
        return batch

    def drawn(self, step: int, micro: int) -> Batch:
        """The batch of a micro-step, without images."""
        return self._dataset.batch(self._order.index(step, micro), self._seed, step=step, steps=self._steps)

    def close(self) -> None:
        """Open nothing more."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
