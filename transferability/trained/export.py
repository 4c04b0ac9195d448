"""A trained network as a file for other programs: .safetensors with its original's keys, or .onnx."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from transferability.files import Refused, in_words, write_atomically
from transferability.networks.chain import Chain
from transferability.trained.network import TrainedNetwork
from transferability.trained.preprocessing import Preprocessing

COMPARED = 16  # validation images on which an ONNX file is compared with the network
TOLERANCE = 1e-4  # of the largest score: what a runtime's other order of additions may change


def export(network: TrainedNetwork, file: Path) -> str:
    """Writes a network to `file`, by its ending; what was written, in one line.

    .safetensors: the tensors under the names that they have in the original network. .onnx: from pixels, 0 to 255,
    resized and cropped, to scores; compared with the network in onnxruntime before it is written. Both hold, as
    metadata, the texts of `metadata`. Refused: another ending, packages that are not installed, other scores in ONNX.
    """
    if file.suffix == ".safetensors":
        # Clones: a tensor with two names is written twice.
        tensors = {name: value.clone() for name, value in network.tensors().items()}
        content, checked = safetensors.torch.save(tensors, metadata(network)), ""
    elif file.suffix == ".onnx":
        pixels = network.validation_pixels(COMPARED)
        with torch.no_grad():
            expected = network(network.preprocessing.normalised(pixels.float()))
        original, texts = network.original(), metadata(network)
        content = onnx_file(network.name, original, network.preprocessing, texts, pixels, expected)
        checked = "; onnxruntime gives the same scores"
    else:
        raise Refused(f"{file}: the ending says what is written; write .safetensors or .onnx")
    with write_atomically(file) as handle:
        handle.write(content)
    return f"{file}: {network.name}, {len(network.classes)} classes, {len(content) / 1e6:.3g} MB{checked}"


def metadata(network: TrainedNetwork) -> dict[str, str]:
    """What a file holds beside the weights: JSON texts, and the mean image in base64.

    network, study, architecture; classes: the name of each score; preprocessing, mean_image: see `Preprocessing`;
    provenance: accuracy, recipe, record, versions and hardware, as in result.json; checksum of the weights.
    """
    result, architecture = network.result, network.architecture
    is_named = isinstance(architecture, Chain) and isinstance(architecture.network, str)
    provenance = {
        "val_top1": result.val_top1,
        "val_images": result.val_images,
        "weights_sha256": result.weights_sha256,
        "recipe": result.recipe,
        "record": result.record,
        **result.provenance,
    }
    return {
        "format": "pt",  # whose tensors they are: transformers and others ask for it
        "network": network.name,
        "study": result.study,
        "architecture": str(architecture.network) if is_named else architecture.name,  # type: ignore[union-attr]
        "classes": json.dumps(network.classes),
        **network.preprocessing.metadata(),
        "provenance": json.dumps(provenance),
    }


def read_metadata(file: Path | str) -> dict[str, str]:
    """The metadata of a file that `export` wrote. Refused if it is none."""
    file = Path(file)
    try:
        if file.suffix == ".onnx":
            import onnx

            content: Mapping[str, str] = {item.key: item.value for item in onnx.load(file).metadata_props}
        else:
            with safetensors.safe_open(file, "pt") as handle:
                content = handle.metadata() or {}
    except ImportError as error:
        raise _not_installed(file, error) from None
    except Exception as error:  # what the readers raise on other files can be of any type
        raise Refused(f"{file} cannot be read ({in_words(error)})") from None
    if "preprocessing" not in content:
        raise Refused(f"{file} was not written by `transferability export`: it does not say how images are prepared")
    return dict(content)


# ------------------------------------------------------------------------------------------ ONNX


class FromPixels(nn.Module):
    """(b, 3, crop, crop) float32, 0 to 255 → (b, classes) scores."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        scale = torch.tensor(preprocessing.scale, dtype=torch.float32)
        self.register_buffer("mean", torch.from_numpy(preprocessing.mean).permute(2, 0, 1).contiguous())
        self.register_buffer("scale", scale if scale.ndim == 0 else scale.view(3, 1, 1))
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network((pixels - self.mean) * self.scale)
        return scores


def refuse_without_onnx() -> None:
    """Refuses to write ONNX where its packages are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise _not_installed("the export to ONNX", error) from None


def onnx_file(
    name: str,
    network: nn.Module,
    preprocessing: Preprocessing,
    texts: Mapping[str, str],
    pixels: Tensor,
    expected: Tensor,
) -> bytes:
    """A network in ONNX: `pixels` (batch, 3, crop, crop) float32 → `scores` (batch, classes), with texts as metadata.

    network: from prepared images to scores. pixels: (b, 3, crop, crop) uint8, of which the runtime has to say what is
    expected: (b, classes).
    """
    refuse_without_onnx()
    import onnxruntime

    crop = preprocessing.crop
    whole = FromPixels(network.to(memory_format=torch.contiguous_format), preprocessing)  # type: ignore[call-overload]
    try:
        program: Any = torch.onnx.export(
            whole,
            (torch.zeros(2, 3, crop, crop),),
            dynamo=True,
            verbose=False,
            input_names=["pixels"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise Refused(f"{name} cannot be written as ONNX ({reason[0] if reason else error!r})") from None
    model = program.model_proto
    for key, value in texts.items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for count in (len(pixels), 1):  # several images, and one alone
        scores = session.run(None, {"pixels": pixels[:count].float().numpy()})[0]
        gap = float(np.abs(scores - expected[:count].numpy()).max())
        if not gap <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise Refused(f"{name}: onnxruntime gives other scores (up to {gap:.3g} apart); nothing was written")
    return content


def _not_installed(what: object, error: ImportError) -> Refused:
    return Refused(f"{what} needs {error.name}: pip install '.[onnx]' in a clone of the project")
