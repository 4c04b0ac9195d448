"""What one would write without this package: one network, one process, files, a DataLoader, Lightning.

    python benchmarks/careful_user.py STUDY.py NETWORK --pictures FOLDER --out FOLDER

The other side of `benchmark.py study`. FOLDER holds A/train, A/val, B/train, … for torchvision's ImageFolder. Written
with care: frozen layers run without gradient and once through their own module, channels last, fused SGD, images
already of the size that is cropped, a worker that stays and reads ahead. Architecture, recipe and validations are those
of NETWORK in STUDY.py. Prints JSON: seconds of training and validation (without imports), final top-1.
"""

import argparse
import json
import logging
import time
import warnings
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from transferability.networks.caffenet import Architecture, Conv, shapes
from transferability.recipe import Recipe
from transferability.study import load_study


def layers(architecture: Architecture, classes: int) -> list[nn.Sequential]:
    """The named layers of an architecture in plain PyTorch, bottom to top, initialised as He et al."""
    built = []
    for (_, spec), (channels, side) in zip(architecture.layers, shapes(architecture), strict=False):
        if isinstance(spec, Conv):
            conv = nn.Conv2d(channels, spec.channels, spec.kernel, spec.stride, spec.pad, groups=spec.groups)
            layer = nn.Sequential(conv, nn.ReLU(inplace=True))
            if spec.pool:
                layer.append(nn.MaxPool2d(spec.pool_window, spec.pool_stride, ceil_mode=True))
            if spec.lrn:
                layer.append(nn.LocalResponseNorm(5))
        else:
            linear = nn.Linear(channels * side * side, spec.outputs or classes)
            layer = nn.Sequential(nn.Flatten(1), linear)
            if spec.outputs is not None:
                layer.append(nn.ReLU(inplace=True)).append(nn.Dropout(spec.dropout))
        for part in layer:
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(part.weight)
                nn.init.zeros_(part.bias)
        built.append(layer.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    with torch.no_grad():
        built[-1][1].weight.div_(10)
    return built


class Classifier(L.LightningModule):
    """`frozen` layers, then `trained` ones."""

    def __init__(self, frozen: nn.Sequential, trained: nn.Sequential, recipe: Recipe) -> None:
        super().__init__()
        self.frozen, self.trained, self.recipe = frozen.requires_grad_(False), trained, recipe

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            x = self.frozen(x)
        return self.trained(x)  # type: ignore[no-any-return]

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        logits = self(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_top1", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> dict[str, object]:
        recipe = self.recipe
        weights = [p for p in self.trained.parameters() if p.ndim > 1]
        biases = [p for p in self.trained.parameters() if p.ndim == 1]
        groups = [
            {"params": weights, "lr": recipe.rate, "weight_decay": recipe.decay},
            {"params": biases, "lr": recipe.rate * recipe.bias_rate, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.SGD(groups, momentum=recipe.momentum, fused=True)
        rate = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: recipe.rate_at(min(step, recipe.steps - 1)) / recipe.rate
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("network", help="full name, as random-0/A3B+/seed-0")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="weights and logs; the bases' weights are read here")
    parser.add_argument("--workers", type=int, default=1, help="of the DataLoader")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)

    study = load_study(options.study)
    network = study.by_name[options.network]
    recipe, treatment = network.recipe, network.treatment
    normalise = [transforms.ToTensor(), transforms.Normalize([0.48, 0.45, 0.40], [0.25, 0.25, 0.25])]
    augmented = transforms.Compose([transforms.RandomCrop(recipe.crop), transforms.RandomHorizontalFlip(), *normalise])
    central = transforms.Compose([transforms.CenterCrop(recipe.crop), *normalise])
    folder = options.pictures / treatment.target
    training, validation = ImageFolder(folder / "train", augmented), ImageFolder(folder / "val", central)
    stays = options.workers > 0
    train = DataLoader(
        training, recipe.batch, shuffle=True, drop_last=True, num_workers=options.workers, persistent_workers=stays
    )
    val = DataLoader(validation, 500, num_workers=options.workers, persistent_workers=stays)

    torch.manual_seed(network.seed)
    parts = layers(study.architecture, len(training.classes))
    if network.source_name is not None:
        copied = torch.load(options.out / network.source_name / "weights.pt")
        for n in range(treatment.n):
            parts[n].load_state_dict(copied[n])
    frozen = 0 if treatment.rate else treatment.n
    module = Classifier(nn.Sequential(*parts[:frozen]), nn.Sequential(*parts[frozen:]), recipe)
    own_folder = options.out / options.network
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=recipe.steps,
        val_check_interval=min(recipe.validate_every, recipe.steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        logger=CSVLogger(own_folder),
        callbacks=[ModelCheckpoint(own_folder, save_last=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    began = time.perf_counter()
    trainer.fit(module, train, val)
    seconds = time.perf_counter() - began
    torch.save([part.state_dict() for part in parts], own_folder / "weights.pt")
    top1 = float(trainer.callback_metrics["val_top1"])
    print(json.dumps({"seconds": seconds, "val_top1": top1}))


if __name__ == "__main__":
    main()
