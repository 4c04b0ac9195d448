"""A training step recorded once as a CUDA graph and replayed, the networks of a fleet beside each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from transferability.data.stream import Batch

LANES = 4  # so many networks run beside each other in a graph

Outcome = tuple[Tensor, Tensor]  # of a step: (networks,) losses, (networks, b, classes) logits
Replay = Callable[[], None]


class Captured:
    """A training step recorded once and replayed. Each batch is first copied into the buffers of the recording.

    work: makes a step out of a batch. capture: calls its argument once, records its operations without carrying them
    out, and returns a function that does, and what the call returned: tensors that each replay fills anew.
    Numbers that change from step to step have to lie in tensors, which the recorded step reads.
    """

    def __init__(
        self,
        work: Callable[[Batch], Outcome],
        batch: Batch,
        capture: Callable[[Callable[[], Outcome]], tuple[Replay, Outcome]],
    ) -> None:
        self.batch = Batch(*(part.clone() for part in batch))
        self.replay, self.outcome = capture(lambda: work(self.batch))

    def __call__(self, batch: Batch) -> Outcome:
        for place, part in zip(self.batch, batch, strict=True):
            place.copy_(part)
        self.replay()
        return self.outcome


def cuda_graph(work: Callable[[], Outcome]) -> tuple[Replay, Outcome]:
    """Captures `work` as a CUDA graph; some steps have to have been made plainly before."""
    graph = torch.cuda.CUDAGraph()
    # Other threads go on, with images for the next steps: what they ask of the device is no part of the graph. Nor is
    # their stream: torch's own for captures might be it (there are 32, given out in turn), a new one is not.
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
        outcome = work()
    return graph.replay, outcome


class Lanes:
    """Streams of a GPU beside each other; to be used within a graph, where starting them costs nothing.

    Each of them has to be used before `join`: a graph cannot wait for what is no part of it.
    """

    def __init__(self, networks: int) -> None:
        self.streams = [torch.cuda.Stream() for _ in range(min(networks, LANES))]

    @contextmanager
    def lane(self, index: int, x: Tensor) -> Iterator[None]:
        """What is within runs in a lane, as soon as `x` is there. Its backward pass does so by itself."""
        stream = self.streams[index % len(self.streams)]
        stream.wait_stream(torch.cuda.current_stream())
        x.record_stream(stream)  # else its memory might be given out again while it is in use here
        with torch.cuda.stream(stream):
            yield

    def join(self) -> None:
        """What comes now waits for all lanes."""
        for stream in self.streams:
            torch.cuda.current_stream().wait_stream(stream)
