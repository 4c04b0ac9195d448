"""Several classes per picture: average precision on PASCAL VOC 2007, by layer of a published network.

    transferability pack VOCdevkit/VOC2007 data/voc2007 --size 256 --centre-crop
    transferability run experiments/several_labels.py
    python plots/readout_by_layer.py runs/several_labels/results.csv --measure val_map_eleven

Razavian et al. 2014, section 3.2: a linear SVM for each class, its mean average precision by the eleven points of 2007;
their figure 2 is by layer. AnB@ten has ten views of each image, in training and as pooled sums in validation (their
CNNaug; Chatfield et al. 2014). Weights of SqueezeNet 1.0 as in experiments/flowers17.py.

Cost: 5,011 training and 4,952 validation images once, ten views for one layer; 11 readouts of one seed (VOC has parts
of its own, and a readout draws nothing): about half an hour on two cores, estimated. Nobody has run it yet.

Expect: mean average precision grows with n, up to the last block.
"""

from dataclasses import replace

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.splits import pair
from transferability.study import Study, network

SPLIT = "imagenet-voc2007"
architecture = chain("torchvision:squeezenet1_0", 224)
published = Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1))
svm = Readout("svm", crop=224, classifier="svm", folds=3)
ten = replace(svm, name="ten", train_views="mirror", test_views="ten")
study = Study(
    "several_labels",
    "voc2007",
    architecture,
    (
        network(f"{SPLIT}/baseA", published),
        *(network(f"{SPLIT}/A{n}B@svm", svm) for n in range(1, architecture.depth)),
        network(f"{SPLIT}/A9B@ten", ten),
        network(f"{SPLIT}/R0B@hog", replace(svm, handmade="hog")),
    ),
    {SPLIT: pair("imagenet", "voc2007")},
)
