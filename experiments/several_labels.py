"""Several classes per picture: average precision on Corel-5k, by layer of a published network.

    transferability pack corel5k/words.csv data/corel5k --size 224 --least 10
    transferability run experiments/several_labels.py
    python plots/average_precision_by_layer.py runs/several_labels

Razavian et al. 2014, section 3.2: a linear SVM for each class, its mean average precision by the eleven points of VOC
2007 and by area; their figure 2 is by layer. AnB@sigmoid is a logistic classifier for each class. AnB@ten has mirrored
images in training, and ten views of each image in validation, as pooled sums (their CNNaug; Chatfield et al. 2014).
Weights of SqueezeNet 1.0 as in experiments/flowers17.py.

Corel-5k as a table words.csv of path, subset and labels, the words with semicolons between them (docs/data.md); its
images of 192 x 128 pixels are squashed to a square. Words that fewer than ten training images have (--least 10) are
left out, and images that have no other: 90 of 315 words stay.

Cost: 990 training and 492 validation images once, ten views for one layer, then 21 readouts of one seed (the set has
parts of its own, and a readout draws nothing): about two minutes on two busy cores.

Expect: mean average precision grows with n, by half from the first layer to the last, where the SVM falls by a point;
the sigmoid is above it everywhere, and handmade features are far below the first layer.
"""

from dataclasses import replace

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.splits import pair
from transferability.study import Study, network

architecture = chain("torchvision:squeezenet1_0", 224)
published = Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1))
svm = Readout("svm", crop=224, classifier="svm", penalties=(0.01, 0.1, 1, 10), folds=3)
sigmoid = replace(svm, name="sigmoid", classifier="sigmoid")
ten = replace(svm, name="ten", train_views="mirror", test_views="ten")


def readouts(name: str, data: str) -> Study:
    split = f"imagenet-{data}"
    networks = (
        network(f"{split}/baseA", published),
        *(network(f"{split}/A{n}B@{kind.name}", kind) for kind in (svm, sigmoid) for n in range(1, architecture.depth)),
        network(f"{split}/A9B@ten", ten),
        network(f"{split}/R0B@hog", replace(svm, handmade="hog")),
        network(f"{split}/R0B@words", replace(svm, handmade="words")),
    )
    return Study(name, data, architecture, networks, {split: pair("imagenet", data)})


study = readouts("several_labels", "corel5k")
