"""The device that trains: its arithmetic, and its memory."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch


@contextmanager
def gpu_arithmetic() -> Iterator[None]:
    """Within, float32 is float32 on a GPU too, and cuDNN keeps the fastest of its algorithms for each shape.

    PyTorch's default lets cuDNN round the factors of float32 convolutions to 10 bits of mantissa (TF32). A recipe
    that wants it faster says bfloat16.
    """
    cudnn = torch.backends.cudnn
    settings = cudnn.allow_tf32, cudnn.benchmark, torch.get_float32_matmul_precision()
    cudnn.allow_tf32, cudnn.benchmark = False, True  # type: ignore[assignment]
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.benchmark, matmul = settings  # type: ignore[assignment]
        torch.set_float32_matmul_precision(matmul)


def release_memory() -> None:
    """Frees GPU memory that is no longer used: a module and its trainer hold each other, and with them a graph."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def keep_memory() -> None:
    """Tells glibc to keep the memory that a step frees, since the next one needs it.

    On a CPU that saves a large fleet some two thousand page faults per step.
    """
    with suppress(OSError, AttributeError):  # another system, another libc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: how much may be free before some goes back to the system
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: what is larger comes from the system each time; 32 MB is the most


def free_memory(device: torch.device) -> float:
    """Bytes: of the GPU, or of this machine."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024.0 * int(fields["MemAvailable"].split()[0])


def start_memory(device: torch.device) -> float:
    """Bytes in use; `most_memory` counts from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return float(torch.cuda.memory_reserved(device))
    Path("/proc/self/clear_refs").write_text("5")  # the most becomes what is in use now
    return most_memory(device)


def most_memory(device: torch.device) -> float:
    """Bytes in use at most since `start_memory`: what torch took of the GPU, or what this process holds."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved(device))
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024.0 * int(fields["VmHWM"].split()[0])
