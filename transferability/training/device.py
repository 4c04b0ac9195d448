"""What a device may do otherwise, for speed and with the same result but for rounding: the forms of a training step.

    plain            as it is written: what a CPU does, bit for bit, and what every other form is compared with
    split            a grouped convolution is one convolution a group; some of a GPU's grouped ones are slow
    graph            the step is captured once as a CUDA graph and replayed, the networks of a fleet beside each other:
                     small networks no longer wait for Python, and fill the GPU together
    split+graph      both

On a GPU `measure.fastest` tries them at a fleet's start, compares them with the plain one, and takes the fastest.
"""

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from transferability.data.stream import Batch

LANES = 4  # so many networks beside each other in a graph

Outcome = tuple[Tensor, Tensor]  # of a step: (networks,) losses, (networks, b, classes) logits
Replay = Callable[[], None]


class Captured:
    """A step that is captured once and then replayed, on pictures that are copied to where it found its first ones.

    `work` makes a step out of a batch. `capture` calls its argument once, captures its operations without carrying
    them out, and returns what carries them out, and what the call returned: tensors that each replay fills anew.
    Numbers that change from step to step have to lie in tensors: the captured step reads them where they were.
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
    # Other threads go on, with pictures for the next steps: what they ask of the device is no part of the graph. Nor is
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


@contextmanager
def gpu_arithmetic() -> Iterator[None]:
    """Within, float32 is float32 on a GPU too, and cuDNN keeps the fastest of its algorithms for each shape.

    PyTorch's default lets cuDNN round the factors of float32 convolutions to 10 bits of mantissa (TF32). A recipe
    that wants it faster says bfloat16.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.benchmark, torch.get_float32_matmul_precision()
    cudnn.allow_tf32, cudnn.benchmark = False, True  # type: ignore[assignment]
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.benchmark, matmul = before  # type: ignore[assignment]
        torch.set_float32_matmul_precision(matmul)


def release_memory() -> None:
    """Gives a GPU back what nobody uses any more: a module and its trainer hold each other, and with them a graph."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def keep_memory() -> None:
    """What a step gives back, the next one needs: glibc is told to keep it.

    On a CPU that spares a large fleet some two thousand page faults a step.
    """
    with suppress(OSError, AttributeError):  # another system, another libc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: how much may be free before some goes back to the system
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: what is larger comes from the system each time; 32 MB is the most
