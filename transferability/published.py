"""A base that somebody else has trained: where its weights are, and what its images have to go through."""

import math
import re
from dataclasses import dataclass

from transferability.files import Refused

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
PREFIXES = ("torchvision", "timm", "package", "study")


@dataclass(frozen=True)
class Published:
    """How a base comes by its weights without being trained: in place of a `Recipe`.

    Its network is the study's. It is fetched, checked and stored once (`training/published.py`), and serves every seed.
    Networks that copy from it see images normalised as it wants them.

    weights: `torchvision:ResNet18_Weights.IMAGENET1K_V1`; `timm:resnet18.a1_in1k`; `package:NAME`, an installed Python
        package that holds one file of weights; `study:NAME/random-0/baseA/seed-0`, a network of another study under the
        same runs/; or a file (.safetensors, .pth, .pt). No file that would run code is read.
    classes: its outputs.
    mean: of each channel, in pixel values from 0 to 255: (pixel - mean) / std is its input. (): what torchvision, timm
        or the other study says; files and packages do not say it.
    std: of each channel, likewise.
    names: how tensors find their places: by their "names", or, where the file has others, in their "order", if there
        are as many of the same shapes.
    sha256: of the file, if only that one will do.
    unit: what all activations are divided by, scores too: biases and inputs are, which leaves a network of
        convolutions, ReLU and pooling the same. Where pixels are not scaled, as in Caffe, activations are in the
        hundreds, and new layers above them hardly learn; 64 brings them to the size that new layers are made for.
    """

    weights: str
    classes: int = 1000
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    names: str = "names"
    sha256: str = ""
    unit: float = 1.0

    # What plans and bars ask of any recipe: nothing is trained.
    steps = 0
    batch = 1

    def __post_init__(self) -> None:
        for field in ("mean", "std"):
            values = getattr(self, field)
            if not isinstance(values, (tuple, list)) or len(values) not in (0, 3):
                raise Refused(f"{self.weights}: {field} is {values!r}; write three numbers, for red, green and blue")
            if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
                raise Refused(f"{self.weights}: {field} is {values!r}; write numbers, in pixel values from 0 to 255")
            object.__setattr__(self, field, tuple(float(value) for value in values))
        if bool(self.mean) != bool(self.std) or any(value <= 0 for value in self.std):
            raise Refused(f"{self.weights}: write both mean and std, in pixel values from 0 to 255, std above 0")
        if self.mean and max(self.std) < 2 and max(self.mean) <= 1:
            raise Refused(
                f"{self.weights}: mean {self.mean} and std {self.std} are of pixels from 0 to 1; multiply them by 255"
            )
        if self.names not in ("names", "order"):
            raise Refused(f"{self.weights}: names is {self.names!r}, not names or order")
        if type(self.classes) is not int or self.classes < 2:
            raise Refused(f"{self.weights}: classes is {self.classes!r}; write the number of its outputs, from 2 up")
        if not isinstance(self.unit, (int, float)) or not 0 < self.unit < math.inf:
            raise Refused(f"{self.weights}: unit is {self.unit!r}; write a number above 0")
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise Refused(f"{self.weights}: sha256 is {self.sha256!r}, not 64 hexadecimal digits")
        if not self.place:
            raise Refused(f"weights {self.weights!r}: a name has to follow the colon")
        if self.kind == "file" and not self.weights.lower().endswith(SUFFIXES):
            raise Refused(
                f"weights {self.weights!r}: write torchvision:NAME, timm:NAME, package:NAME, study:NAME, or a file "
                f"that ends with {', '.join(SUFFIXES)}"
            )
        if self.kind in ("file", "package") and not self.mean:
            raise Refused(
                f"{self.weights}: a {self.kind} does not say how images are normalised; write mean and std, in pixel "
                "values from 0 to 255 (often (123.675, 116.28, 103.53) and (58.395, 57.12, 57.375))"
            )

    @property
    def kind(self) -> str:
        """torchvision, timm, package, study or file."""
        prefix = self.weights.partition(":")[0]
        return prefix if prefix in PREFIXES else "file"

    @property
    def place(self) -> str:
        """What follows the prefix; a file's path."""
        return self.weights if self.kind == "file" else self.weights.partition(":")[2]

    @property
    def name(self) -> str:
        """A word for people."""
        return f"published {self.place.rpartition('/')[2]}"

    @property
    def record(self) -> dict[str, object]:
        """What a network's record says of it: a file by its name, wherever it lies."""
        content: dict[str, object] = {"weights": self.weights, "classes": self.classes}
        if self.kind == "file":
            content["weights"] = self.place.rpartition("/")[2]
        for field, default in (("mean", ()), ("std", ()), ("names", "names"), ("sha256", ""), ("unit", 1.0)):
            if getattr(self, field) != default:
                content[field] = getattr(self, field)
        return content
