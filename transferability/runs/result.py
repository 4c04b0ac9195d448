"""What result.json holds: one trained network. Written by training, read by everything else. Needs no torch."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from transferability.files import Refused, read_json, write_json


@dataclass(frozen=True)
class Result:
    """One trained network, as its result.json says.

    Accuracies are shares of 1, losses are in nats, both are of the last validation. What files of earlier versions
    lack has a default.

    network: the name without split and seed (A3B+@250). kind, source, target, n, preserved, plus: its treatment.
    diverged_at: the step whose loss was first not a number, or None.
    val_top1_best10: the paper's statistic, the mean of the ten highest of 100 validations or more; else None.
    train_loss, train_top1: over the training images since the validation before the last.
    images_seen: training images, repetitions counted. seconds: of training and validation, interruptions left out.
    series: for each validation, the step, rate, losses, accuracies, val_images and seconds until then.
    recipe: every field of the recipe, its name included. record: what the result depends on (`study.record`).
    provenance: commit, versions, hardware, fleet, form of the training step, time.
    layer: the name of layer n, the last one that is copied; "" for a base.
    chance: the accuracy of the majority-class baseline, the largest class's share of the validation images.
    val_class_top1: the mean over classes of each class's accuracy. val_map: mean average precision, where images have
    several labels; else None. val_auc: mean area under the ROC curves of the classes, where the recipe asks for it.
    val_images is 0, and there are no accuracies, of a published base whose images are not at hand.
    Of a readout: numbers, how many per image it was fitted to; penalty, what was chosen on inner folds (of neighbours,
    their number); val_map_eleven, as PASCAL VOC 2007 counts average precision; val_precision_ten, of the ten nearest
    images of a retrieval, whose val_top1 is that of the nearest, and val_map over queries.
    Of classes never seen (`ZeroShot`), when an image may be of any class: val_seen, val_unseen, the mean accuracies of
    the source's and of the target's classes; val_harmonic, their harmonic mean. by_class: among the target's alone, id
    of a class → its accuracy.
    classes, training_images: of the target, each image counted once. weights_sha256: of the weights file, where it
    was kept.
    """

    name: str
    study: str
    split: str
    network: str
    kind: str
    source: str
    target: str
    n: int
    preserved: int
    plus: str
    images_per_class: int | None
    variant: str
    seed: int
    diverged_at: int | None
    val_top1: float | None
    val_top5: float | None
    val_loss: float | None
    val_images: int
    train_loss: float | None
    train_top1: float | None
    val_top1_best10: float | None
    steps: int
    images_seen: int
    seconds: float
    images_per_second: float
    series: Mapping[str, list[Any]]
    recipe: Mapping[str, Any]
    record: Mapping[str, Any]
    provenance: Mapping[str, Any]
    layer: str = ""
    chance: float | None = None
    val_class_top1: float | None = None
    val_map: float | None = None
    val_auc: float | None = None
    classes: int | None = None
    training_images: int | None = None
    weights_sha256: str | None = None
    numbers: int | None = None
    penalty: float | None = None
    val_map_eleven: float | None = None
    val_precision_ten: float | None = None
    val_seen: float | None = None
    val_unseen: float | None = None
    val_harmonic: float | None = None
    by_class: Mapping[str, float] | None = None


FIELDS = tuple(field.name for field in fields(Result))
REQUIRED = tuple(field.name for field in fields(Result) if field.default is MISSING)
SHARES = (
    *("val_top1", "val_top5", "val_top1_best10", "val_class_top1", "val_map", "val_auc", "train_top1", "chance"),
    *("val_map_eleven", "val_precision_ten", "val_seen", "val_unseen", "val_harmonic"),
)


def _types(hint: Any) -> tuple[type, ...]:
    """The types that a value from JSON may have where a field is annotated with `hint`."""
    types = tuple(get_origin(kind) or kind for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,)))
    return (*types, int) if float in types else types


TYPES = {name: _types(hint) for name, hint in get_type_hints(Result).items()}


def write_result(file: Path, result: Result) -> None:
    """Writes result.json, atomically: from now on the network is done."""
    write_json(file, {name: getattr(result, name) for name in FIELDS})


def read_result(file: Path) -> Result:
    """The result in a file. `files.Missing` if there is none; Refused, naming file and field, if it holds no result."""
    content = read_json(file)
    if defect := _defect(content):
        raise Refused(f"{file} {defect}; move it away to train that network again")
    return Result(**{name: content[name] for name in FIELDS if name in content})


def _defect(content: Any) -> str:
    """What is wrong with the content of a result.json; "" if nothing is."""
    if not isinstance(content, dict):
        return "holds no result"
    if lacking := [name for name in REQUIRED if name not in content]:
        return f"lacks {', '.join(lacking)}"
    for name, types in TYPES.items():
        if name in content and not isinstance(content[name], types):
            return f"holds no result ({name} is {content[name]!r:.50})"
    for name in SHARES:
        if not 0 <= (content.get(name) or 0) <= 1:
            return f"holds no result ({name} is {content[name]}, no share of 1)"
    is_judged = content["val_images"] > 0 or (content["steps"] == 0 and content["val_top1"] is None)
    return "" if is_judged else "holds no result (it counts no validation images)"


class Done(NamedTuple):
    """A finished network. diverged_at: the step at which its loss was first not a number, or None."""

    diverged_at: int | None


def done(file: Path | str) -> Done | None:
    """Whether a network is finished, and how; None if there is no result.

    Does not parse the file, in which long series stand: `status` asks this of 10,000 networks. Refused, naming the
    file, if it does not say whether the network diverged.
    """
    try:
        with open(file, "rb", buffering=0) as handle:  # read at once: no buffer is needed
            content = handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # Unambiguous: within a string of JSON the quotation marks would be escaped.
    match = re.search(rb'"diverged_at"\s*:\s*(null|\d+)', content)
    if match is None:
        raise Refused(f"{file} does not say whether its network diverged; move it away to train that network again")
    return Done(None if match[1] == b"null" else int(match[1]))
