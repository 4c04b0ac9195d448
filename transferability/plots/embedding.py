"""Do the images of a class lie together? Features of chosen layers in the plane, by t-SNE.

    transferability features experiments/retrieval.py imagenet-flowers17/A9B@plain fire9.npz
    python plots/embedding.py hog.npz fire2.npz fire9.npz [--most 1000] [--perplexity 30] [--out figures]

One panel for each file, as DeCAF shows its first and sixth layer (Donahue et al. 2014, figure 2); handmade features
(R0B@hog) are a panel like others. Above by class, below by super-group (man-made or natural, or the groups of
classes.csv), where there are any. t-SNE is scikit-learn's, from the principal components; its axes have no unit, and
distances between far clusters say nothing.

Of a readout that is trained on one domain and judged on another (trained_on="source"), the images of both are shown,
with a marker for each domain: whether the same class of two domains lies together. Files of the base and of a network
whose domains were made alike (Readout(of="A5B+@dann")) are before and after.

What is printed is measured in the features themselves, not in the plane: the share of judged images whose nearest
training image has their class, and with two domains the share whose nearest image of all is of the other domain.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from transferability.files import Refused
from transferability.plots import command, style
from transferability.plots.features import Features, distances, read_export
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn
from transferability.training.precision import relevant_of

NAME = "embedding"
MOST = 1000  # images in a panel: t-SNE takes seconds then
PERPLEXITY = 30.0
COMPONENTS = 50  # principal components that t-SNE starts from, as its authors advise
DOMAIN_MARKERS = ("o", "^")
NAMED = 20  # classes that have room in the legend


def shown_rows(features: Features, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the images that are drawn: judged ones and, where these are of another domain, training ones too.

    At most `most` of them, at equal steps: images lie class by class, so that each class keeps its share.
    """
    sides = (features.train, features.val)
    counts = [len(side.labels) if features.has_domains or side is features.val else 0 for side in sides]
    share = min(1.0, most / sum(counts))
    places = [np.linspace(0, count - 1, round(count * share)).astype(int) for count in counts]
    return places[0], places[1]


def in_the_plane(vectors: np.ndarray, perplexity: float) -> np.ndarray:
    """(n, 2): t-SNE of vectors (n, d), each number standardised. The same for the same vectors."""
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError:
        raise Refused("t-SNE needs scikit-learn; pip install 'transferability[readout]'") from None
    std = vectors.std(0)
    standard = (vectors - vectors.mean(0)) / np.where(std > 0, std, 1)
    components = min(COMPONENTS, *standard.shape)
    reduced = PCA(components, svd_solver="full" if min(standard.shape) < 500 else "randomized", random_state=0)
    nearest = min(perplexity, (len(vectors) - 1) / 3)
    tsne = TSNE(2, perplexity=nearest, init="pca", random_state=0)
    return np.asarray(tsne.fit_transform(reduced.fit_transform(standard)))


def same_class(features: Features) -> float:
    """The share of judged images whose nearest training image shows a class of theirs; standardised vectors."""
    train, val = features.standardised()
    nearest = distances(val, train).argmin(1)
    return float(relevant_of(features.val.labels, features.train.labels)[np.arange(len(val)), nearest].mean())


def other_domain(features: Features) -> float:
    """The share of judged images whose nearest other image is of the other domain, among as many of each."""
    train, val = features.standardised()
    count = min(len(train), len(val))
    train, val = (x[np.linspace(0, len(x) - 1, count).astype(int)] for x in (train, val))
    own = distances(val, val)
    np.fill_diagonal(own, np.inf)
    return float((distances(val, train).min(1) < own.min(1)).mean())


def panel(axes: Axes, points: np.ndarray, kinds: np.ndarray, of_domain: np.ndarray, count: int) -> None:
    """Points (n, 2), coloured by kind (n,), 0 to count - 1. of_domain: (n,) 0 for images of the training images' domain
    where there are two, else 1."""
    colours = colormaps["tab10" if count <= 10 else "tab20" if count <= 20 else "gist_rainbow"]
    at = kinds if count <= 20 else kinds / count
    for domain, marker in enumerate(DOMAIN_MARKERS if not of_domain.all() else "oo"):
        own = of_domain == domain
        edges = colours(at[own])
        faces = edges if domain else "none"
        x, y = points[own].T
        axes.scatter(x, y, s=9, marker=marker, lw=0.7, facecolors=faces, edgecolors=edges, gid=f"domain {domain}")
    axes.set_xticks([])
    axes.set_yticks([])


def legend_of(features: Features, names: Sequence[str]) -> list[style.Entry]:
    """The classes that have room, and the domains."""
    entries: list[style.Entry] = []
    colours = colormaps["tab10" if len(names) <= 10 else "tab20"]
    if len(names) <= NAMED:
        entries = [(Line2D([], [], ls="", marker="o", ms=4, color=colours(k)), name) for k, name in enumerate(names)]
    if features.has_domains:
        for side, marker, face in zip((features.train, features.val), DOMAIN_MARKERS, ("none", "black"), strict=True):
            shape = Line2D([], [], ls="", marker=marker, ms=4, color="black", markerfacecolor=face)
            entries.append((shape, side.domain))
    return entries


def lines_of(features: Features) -> str:
    """What is measured in the features themselves."""
    line = f"{features.network}, {features.layer}: of {len(features.val.labels):,} images, "
    line += f"{same_class(features):.0%} have the class of the nearest training image"
    if features.has_domains:
        line += f"; the nearest image of {other_domain(features):.0%} is of the other domain (50% if domains are mixed)"
    return line


def draw(
    files: Sequence[Features], most: int = MOST, perplexity: float = PERPLEXITY, page: Page = PLAIN
) -> list[Drawn]:
    """One panel for each of `files`, and a second row by super-group. Refused: files of different classes, or of
    images with several classes."""
    first = files[0]
    for features in files:
        if features.classes != first.classes:
            raise Refused(f"{features.network} and {first.network} are of different classes: draw them apart")
        if features.val.labels.ndim > 1:
            raise Refused(f"{features.network}: its images have several classes, and a point has one colour")
    groups = sorted(set(first.groups) - {""})
    rows = ["class", *(["group"] if len(groups) > 1 else [])]
    columns = page.columns(min(3, len(files)))
    high = -(-len(files) // columns)
    figure = style.new_figure(page, 2.3 * len(rows) * high + 1.0, style.WIDE)
    panels = [f"{row} {k}" for row in rows for k in range(len(files))]
    layout = [line for row in rows for line in style.in_rows([p for p in panels if p.startswith(row)], columns)]
    axes = figure.subplot_mosaic(layout)
    for k, features in enumerate(files):
        training, judged = shown_rows(features, most)
        vectors = np.concatenate([features.train.vectors[training], features.val.vectors[judged]])
        if len(vectors) < 3 or (vectors == vectors[0]).all():  # t-SNE crashes
            raise Refused(f"{features.network}: t-SNE needs three images or more, and features that tell them apart")
        labels = np.concatenate([features.train.labels[training], features.val.labels[judged]])
        of_domain = np.repeat([0, 1], [len(training), len(judged)])
        points = in_the_plane(vectors, perplexity)
        panel(axes[f"class {k}"], points, labels, of_domain, len(first.classes))
        axes[f"class {k}"].set_title(features.title, fontsize=7, loc="left")
        if "group" in rows:
            kinds = np.array([groups.index(name) if name else -1 for name in features.groups])[labels]
            panel(axes[f"group {k}"], points[kinds >= 0], kinds[kinds >= 0], of_domain[kinds >= 0], len(groups))
    entries = legend_of(first, first.classes)
    entries += [
        (Line2D([], [], ls="", marker="s", ms=4, color=colormaps["tab10"](k)), f"below: {name}")
        for k, name in enumerate(groups if "group" in rows else [])
    ]
    if entries:
        style.legend(figure, figure.get_figwidth(), entries)
    style.caption(figure, page)
    return [Drawn(NAME, figure, first.network.split("/")[0], tuple(map(lines_of, files)))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FEATURES.NPZ", help="written by transferability features"
    )
    parser.add_argument("--most", type=int, default=MOST, help=f"images in a panel ({MOST})")
    parser.add_argument("--perplexity", type=float, default=PERPLEXITY, help=f"of t-SNE ({PERPLEXITY:g})")
    options = parser.parse_args(arguments)
    if options.most < 3 or options.perplexity <= 0:
        raise Refused("write --most 3 or more, and --perplexity above 0")
    with style.settings(options.style):
        files = [read_export(file) for file in options.files]
        command.publish(draw(files, options.most, options.perplexity, command.page_of(options)), options)
