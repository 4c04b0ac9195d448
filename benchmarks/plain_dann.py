"""DANN as one would write it without this package, compared with a cell of a study: are they equivalent?

    python benchmarks/plain_dann.py experiments/digits.py 'mnist-mnistm/A2B+@dann'

Plain PyTorch: its own layers, initial weights, order of images, gradient reversal, loop and judgement; of this package
only the architecture and the recipe as numbers, and the arrays of packed sets. Seeds are those of the results, which
have to be there; the seeds mean different draws on both sides. Margin, fixed before the first comparison: five points.
The accuracies are *equivalent* where the 95 % interval of the difference of the means (Welch) lies within it.
Cost: a minute or two for each seed on one core.
"""

import argparse
import math

import numpy as np
import torch
import torch.nn.functional as F
from careful_user import layers
from scipy import stats
from torch import Tensor, nn

from transferability.adversarial import Adversarial
from transferability.data.packed import PackedImages, open_packed
from transferability.networks.caffenet import Architecture
from transferability.results.table import full_names, read_results
from transferability.runs.paths import data_root, study_folder
from transferability.study import Study, load_study

MARGIN = 0.05


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):  # type: ignore[no-untyped-def]
        ctx.weight = weight
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient.neg() * ctx.weight, None


def domains_of(study: Study, split: str, task: str) -> tuple[PackedImages, np.ndarray, np.ndarray]:
    """The packed set of a domain, and the rows of its training and validation images."""
    part = study.part(split, task)
    packed = open_packed(data_root() / part.data)
    rows = []
    for images in (packed.train, packed.val):
        kept = np.ones(len(images.labels), bool)
        if part.domain:
            kept = np.asarray(images.domains) == packed.domains.index(part.domain)
        rows.append(np.flatnonzero(kept))
    return packed, rows[0], rows[1]


def plain_dann(study: Study, split: str, n: int, recipe: Adversarial, seed: int) -> float:
    """The accuracy on B's validation images."""
    torch.manual_seed(seed)
    architecture = study.architecture
    assert isinstance(architecture, Architecture)
    (a, a_rows, _), (b, b_rows, b_val) = (domains_of(study, split, task) for task in "AB")
    classes, crop = len(a.classes), recipe.crop
    built = layers(architecture, classes)
    below, above = nn.Sequential(*built[:n]), nn.Sequential(*built[n:])
    width = below(torch.zeros(1, 3, crop, crop)).numel()
    critic = nn.Sequential(nn.Flatten(1))
    for units in recipe.hidden:
        critic.extend([nn.Linear(width, units), nn.ReLU()])
        width = units
    critic.append(nn.Linear(width, 1))
    for part in critic:
        if isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            nn.init.zeros_(part.bias)
    with torch.no_grad():
        critic[-1].weight.div_(10)
    named = [(name, value) for part in (below, above, critic) for name, value in part.named_parameters()]
    groups = [
        {"params": [v for name, v in named if not name.endswith("bias")], "weight_decay": recipe.decay, "factor": 1.0},
        {"params": [v for name, v in named if name.endswith("bias")], "factor": recipe.bias_rate},
    ]
    optimiser = torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum)
    mean = torch.from_numpy(a.train.images[a_rows].mean(0)).permute(2, 0, 1)

    def prepared(packed: np.ndarray, rows: np.ndarray, train: bool) -> Tensor:
        x = ((torch.from_numpy(packed[rows]).permute(0, 3, 1, 2) - mean) * recipe.scale).float()
        room = x.shape[-1] - crop
        if not train:
            return x[..., room // 2 : room // 2 + crop, room // 2 : room // 2 + crop]
        out = []
        for image in x:
            top, left = torch.randint(room + 1, (2,)).tolist()
            cut = image[:, top : top + crop, left : left + crop]
            out.append(cut.flip(2) if recipe.mirror and torch.rand(()) < 0.5 else cut)
        return torch.stack(out)

    def endless(rows: np.ndarray):  # type: ignore[no-untyped-def]
        while True:
            yield from torch.from_numpy(rows)[torch.randperm(len(rows))].split(recipe.batch)

    first, second = endless(a_rows), endless(b_rows)
    labels = torch.from_numpy(np.array(a.train.labels)).long()
    truth = torch.cat([torch.ones(recipe.batch), torch.zeros(recipe.batch)])
    for step in range(recipe.steps):
        mine, other = next(first), next(second)
        while len(mine) < recipe.batch:
            mine = next(first)
        while len(other) < recipe.batch:
            other = next(second)
        rate = recipe.rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        x = torch.cat([prepared(a.train.images, mine.numpy(), True), prepared(b.train.images, other.numpy(), True)])
        features = below(x)
        weight = recipe.strength * (2 / (1 + math.exp(-recipe.gamma * step / recipe.steps)) - 1)
        scores = critic(Reverse.apply(features, weight)).flatten()
        loss = F.cross_entropy(above(features[: recipe.batch]), labels[mine])
        loss = loss + F.binary_cross_entropy_with_logits(scores, truth)
        optimiser.zero_grad()
        loss.backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_([value for _, value in named], recipe.clip)
        optimiser.step()
    right = 0
    with torch.no_grad():
        for part in np.array_split(b_val, max(1, len(b_val) // 500)):
            chosen = above(below(prepared(b.val.images, part, False))).argmax(1)
            right += int((chosen.numpy() == b.val.labels[part]).sum())
    return right / len(b_val)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="experiment file")
    parser.add_argument("network", help="a cell, without its seed, as mnist-mnistm/A2B+@dann")
    options = parser.parse_args()
    study = load_study(options.study)
    chosen = [network for network in study.networks if network.name.rpartition("/")[0] == options.network]
    table = read_results(study_folder(study.name).results)
    known = dict(zip(full_names(table), table["val_top1"], strict=True))
    ours = [float(known[network.name]) for network in chosen]
    plain = []
    for network, own in zip(chosen, ours, strict=True):
        assert isinstance(network.recipe, Adversarial) and network.recipe.start == "fresh"
        plain.append(plain_dann(study, network.split, network.treatment.n, network.recipe, network.seed))
        print(f"seed {network.seed}: this package {own:.4f}, plain {plain[-1]:.4f}", flush=True)
    interval = stats.ttest_ind(ours, plain, equal_var=False).confidence_interval(0.95)
    equivalent = interval.low > -MARGIN and interval.high < MARGIN
    print(
        f"difference {np.mean(ours) - np.mean(plain):+.4f}, 95 % interval {interval.low:+.4f} to {interval.high:+.4f}, "
        f"margin {MARGIN}: {'equivalent' if equivalent else 'not decided'}"
    )


if __name__ == "__main__":
    main()
