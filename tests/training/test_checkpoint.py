"""A damaged checkpoint is named, never resumed."""

import io
import random
from pathlib import Path

import pytest
import torch

from transferability.files import Refused
from transferability.training.checkpoint import read_checkpoint


def checkpoint() -> bytes:
    state = {
        "step": 7,
        "weights": {f"0.conv{i}.weight": torch.arange(600.0).view(20, 30) for i in range(3)},
        "series": {"random-0/baseA/seed-0": [{"step": 6, "val_top1": 0.25}]},
        "active": [0],
    }
    handle = io.BytesIO()
    torch.save(state, handle)
    return handle.getvalue()


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    """In the weights, where torch.load would read another number, and in what it unpickles."""
    whole, file, draw = checkpoint(), tmp_path / "checkpoint.pt", random.Random(0)
    file.write_bytes(whole)
    expected = read_checkpoint(file)
    unseen = 0
    for position in [draw.randrange(len(whole)) for _ in range(300)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            found = read_checkpoint(file)
        except Refused as error:
            assert str(file) in str(error) and "is damaged" in str(error) and "\n" not in str(error)
            continue
        # Padding between the parts of a zip belongs to no part; what is read is then what was written.
        unseen += 1
        assert found["step"] == 7 and found["series"] == expected["series"]
        assert all(torch.equal(found["weights"][name], value) for name, value in expected["weights"].items())
    assert unseen < 100


@pytest.mark.parametrize("content", [b"", b"PK", b"no checkpoint at all", checkpoint()[:-40], checkpoint()[:200]])
def test_what_is_no_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(
        Refused, match=r"checkpoint\.pt is damaged \(.*\); remove .* to train this fleet from its start"
    ):
        read_checkpoint(tmp_path / "checkpoint.pt")
