"""The next batches' pictures, opened in threads while the model works."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from museum_plugin.data.dataset import Batch, StyleDataset


class BatchReader:
    """Batches in order, their pictures opened ahead of time.

    A batch is a pure function of its index and of how far the training is, so neither the number of threads nor
    their speed changes a number.
    """

    def __init__(
        self,
        dataset: StyleDataset,
        seed: int,
        *,
        threads: int,
        stride: int = 1,
        accumulated: int = 1,
        steps: int = 0,
    ) -> None:
        """Nothing is opened yet.

        Args:
            threads: how many batches are opened ahead, each in a thread of its own; 0: batches come without images.
            stride: how far one index lies from the next that is asked for: the number of processes.
            accumulated: micro-steps of each process in an optimizer step.
            steps: optimizer steps in all.
        """
        self._dataset = dataset
        self._seed = seed
        self._threads = threads
        self._stride = stride
        self._batches_a_step = stride * accumulated
        self._steps = steps
        self._pool = ThreadPoolExecutor(threads, "pictures") if threads else None
        self._ahead: dict[int, tuple[Batch, Future[Tensor]]] = {}

    def batch(self, index: int) -> Batch:
        """The batch of a micro-step, with its images if there are threads; the next ones are begun.

        Raises:
            DataError: a picture of this batch cannot be read.
        """
        if self._pool is None:
            return self._drawn(index)
        for passed in [ahead for ahead in self._ahead if ahead < index]:  # the rest of a step that was left out
            self._ahead.pop(passed)[1].cancel()
        for ahead in range(index, index + (self._threads + 1) * self._stride, self._stride):
            if ahead not in self._ahead:
                batch = self._drawn(ahead)
                self._ahead[ahead] = batch, self._pool.submit(self._dataset.images, batch)
        batch, images = self._ahead.pop(index)
        batch.images = images.result()
        return batch

    def _drawn(self, index: int) -> Batch:
        return self._dataset.batch(index, self._seed, step=index // self._batches_a_step, steps=self._steps)

    def close(self) -> None:
        """Open nothing more."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
