"""How fast are readouts? Our solver against a loop over scikit-learn's LinearSVC, on the features of a study.

    transferability features experiments/caltech101_readouts.py:caltech101-lite0 imagenet-caltech101/A14B@30@svm 14.npz
    python benchmarks/readouts.py 1.npz 7.npz 14.npz                # one file for each layer
    python benchmarks/readouts.py --invented 3030 101 4096          # images, classes, numbers; without a study

Both choose the penalty on inner folds of the training images and fit to all of them then: the same penalties, folds,
standardised vectors and one thread; those of experiments/caltech101_readouts.py. Ours stops the search early, as it
does in a study; LinearSVC, with its defaults, is given the penalties that ours has tried, and no others. Seconds are of
processor time, so that a busy machine counts in neither. One line for each file: seconds of both, the ratio, and
whether they choose the same penalty and agree on the validation images; then the sum. --one fits LinearSVC once, with
the penalty that ours has chosen, and counts that so many times as there are fits.

Cost: for 3,030 images a minute for 320 numbers, a quarter of an hour for 1,280, two minutes with --one.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.svm import LinearSVC

from transferability.readout import Readout
from transferability.training.classifiers import Choice, Shared, fit_classifier, folds_of
from transferability.training.vectors import transformed

RECIPE = Readout("svm", crop=1, penalties=(0.1, 1, 10, 100, 1000), folds=3)


def invented(images: int, classes: int, numbers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, numbers) features of n images, their labels, and features of a tenth as many more."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), images // classes)
    centres, mixing = draw.standard_normal((classes, 64)), draw.standard_normal((64, numbers))

    def features(of: np.ndarray) -> np.ndarray:
        latent = 0.9 * draw.standard_normal((len(of), 64)) + 0.45 * centres[of]
        noise = draw.standard_normal((len(of), numbers))
        return np.maximum(latent @ mixing * 0.2 + noise, 0).astype(np.float32)

    return features(labels), labels, features(labels[::10])


def ours(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray) -> tuple[float, np.ndarray, Choice]:
    """Seconds, what is said of the other images, and what was chosen."""
    began = time.process_time()
    folds = folds_of(labels, RECIPE.folds)
    shared = Shared(torch.from_numpy(vectors), torch.from_numpy(labels), folds, int(labels.max()) + 1)
    fit = fit_classifier(RECIPE, shared, torch.from_numpy(others))
    return time.process_time() - began, fit.scores.argmax(1).numpy(), fit.choice


def loop(
    vectors: np.ndarray, labels: np.ndarray, others: np.ndarray, choice: Choice, once: bool
) -> tuple[float, np.ndarray, float]:
    """The same by LinearSVC: seconds, predictions, and the penalty that it chooses."""
    unit = 1 / float((vectors.astype(np.float64) ** 2).sum(1).mean())
    folds, best = folds_of(labels, RECIPE.folds), float(choice.candidate or 0)
    began = time.process_time()
    if not once:
        inner = {}
        for penalty in choice.inner:
            right = 0
            for fold in range(RECIPE.folds):
                held = folds == fold
                model = LinearSVC(C=penalty * unit).fit(vectors[~held], labels[~held])
                right += int((model.predict(vectors[held]) == labels[held]).sum())
            inner[penalty] = right
        best = max(inner, key=lambda penalty: inner[penalty])
    model = LinearSVC(C=best * unit).fit(vectors, labels)
    seconds = time.process_time() - began
    fits = 1 + RECIPE.folds * len(choice.inner) * (1 - 1 / RECIPE.folds)  # each fold has a part of the images
    return seconds * (fits if once else 1), model.predict(others), best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FEATURES.NPZ")
    parser.add_argument("--invented", nargs=3, type=int, metavar=("IMAGES", "CLASSES", "NUMBERS"))
    parser.add_argument("--one", action="store_true", help="fit LinearSVC once, and count that for all fits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # LinearSVC says where its 1,000 iterations do not suffice
    cases = {}
    for file in options.files:
        with np.load(file) as content:
            cases[file.name] = content["train_features"], content["train_labels"], content["val_features"]
    if options.invented:
        cases["invented"] = invented(*options.invented)
    print("features, images, numbers, ours s, LinearSVC s, times as fast, penalties, the same predictions")
    total = np.zeros(2)
    for name, (training, labels, others) in cases.items():
        vectors, judged = transformed(training, others, RECIPE.transforms)
        seconds, said, choice = ours(vectors, labels, judged)
        theirs, predicted, penalty = loop(vectors, labels, judged, choice, options.one)
        total += seconds, theirs
        print(
            f"{name}, {len(vectors)}, {vectors.shape[1]}, {seconds:.1f}, {theirs:.1f}, {theirs / seconds:.1f}, "
            f"{choice.candidate:g} and {penalty:g}, {(said == predicted).mean():.1%}",
            flush=True,
        )
    print(f"all: ours {total[0]:.1f} s, LinearSVC {total[1]:.1f} s, {total[1] / total[0]:.1f} times as fast")


if __name__ == "__main__":
    main()
