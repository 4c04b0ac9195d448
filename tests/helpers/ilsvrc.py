"""ILSVRC 2012 in small: its tar files and its development kit, as they are published."""

import io
import tarfile

import numpy as np
from pictures import picture
from scipy.io import savemat

WNIDS = ("n01440764", "n01443537", "n03000134")  # tench, goldfish: natural; chainlink fence: man-made


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def tar_of(files: dict[str, bytes], mode: str = "w") -> bytes:
    handle = io.BytesIO()
    with tarfile.open(fileobj=handle, mode=mode) as archive:
        for name, data in files.items():
            add(archive, name, data)
    return handle.getvalue()


def devkit(truth: list[int], order: tuple[str, ...] = (WNIDS[2], *WNIDS[:2])) -> dict[str, bytes]:
    """meta.mat numbers the classes in its own order, not in that of the ids; synsets above them follow."""

    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
    rows = [(i + 1, wnid, "words", 3 * (i == 3)) for i, wnid in enumerate((*order, "n00001740"))]
    handle = io.BytesIO()
    savemat(handle, {"synsets": np.array(rows, dtype=kinds)})
    return {
        "ILSVRC2012_devkit_t12/data/meta.mat": handle.getvalue(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{i}\n" for i in truth).encode(),
    }


TRUTH = [1, 3, 2, 2, 1, 3]  # chainlink fence, goldfish, tench, tench, chainlink fence, goldfish


def ilsvrc_files() -> tuple[dict[str, bytes], dict[str, bytes]]:
    train = {f"{w}/{w}_{n}.JPEG": picture(100 * c + n, 20, 30) for c, w in enumerate(WNIDS) for n in (10, 9, 100)}
    val = {f"ILSVRC2012_val_{i + 1:08d}.JPEG": picture(1000 + i, 20, 30) for i in range(6)}
    return train, val
