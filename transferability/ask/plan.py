"""What is tried within the minutes, in which order, and what each piece takes on this machine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from transferability.ask.file import HELD_OUT, SPLIT, Source
from transferability.names import counted
from transferability.study import Fleet, Network, Study, fleets
from transferability.training.cost import fleet_operations

SEEDS = 3  # that give an interval
MOST_SEEDS = 10
CROPS = (224, 160, 128, 96, 64, 48, 32)
SMALLEST = 64  # of them, unless the pictures are smaller
STEPS, FEWEST_STEPS = 400, 60
PASSES = 30  # over the training pictures
BATCH = 32
# Of the minutes: what the usual pieces may take when the side of the pictures is chosen.
SHARE = 0.6
LARGER_SHARE = 0.1  # of the minutes: what features of larger pictures than those that are trained on may take
START = 8.0  # seconds until workers can train
FOLDS = 3
NUMBERS = (4096, 2048, 1024, 512, 256)  # per picture: at most, of what a linear classifier sees
NUMBERS_SHARE = 0.1  # of the minutes: what one classifier on each layer may take, features apart
CLASSIFIER = 1200.0  # operations for each picture, number and class, of all penalties and folds (measured)
READING = 1 / 3  # of the seconds left: what more seeds of the classifiers on all layers may take
LIKELIEST = 4  # layers: those with the best classifiers, which get more seeds in any case
LEARNING = (2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300)  # pictures per class, of the learning curve


@dataclass(frozen=True)
class Piece:
    """What is decided on at once: name → seeds."""

    what: str
    readouts: Mapping[str, int] = field(default_factory=dict)
    trained: Mapping[str, int] = field(default_factory=dict)


def steps_for(pictures: int) -> int:
    """Steps for so many training pictures: PASSES over them, within bounds."""
    return max(FEWEST_STEPS, min(STEPS, PASSES * pictures // BATCH))


def batch_for(counts: Sequence[int]) -> int:
    """Pictures per step: no more than are left of each class's once the inner ones are held out."""
    left = sum(count - max(1, round(HELD_OUT * count)) for count in counts)
    return max(1, min(BATCH, left))


def reading(layers: Sequence[int], seeds: int) -> Piece:
    """A linear classifier on each of these layers."""
    *others, last = map(str, layers)
    which = f"layers {others[0]} to {last}" if len(others) > LIKELIEST else f"layers {', '.join(others)} and {last}"
    which = which if others else f"layer {last}"
    return Piece(f"linear classifiers on {which}, {counted(seeds, 'seed')}", {f"A{n}B": seeds for n in layers})


def learning(best: int, per_class: int, folds: int, pool: bool) -> Piece:
    """The classifier on layer `best`, with fewer pictures per class. per_class: of the smallest class that trains."""
    counts = [k for k in LEARNING if folds <= k <= 0.8 * per_class]
    return Piece(
        f"linear classifiers with {', '.join(map(str, counts))} pictures per class",
        {f"A{best}B@{k}": SEEDS if pool else 1 for k in counts},
    )


def training(depth: int, best: int) -> Iterator[Piece]:
    """What is trained, the most telling first. best: the layer that served readouts best on inner folds."""
    top, low = depth - 1, max(1, best // 2)
    rest = "and train the rest"
    yield Piece(
        f"freeze {counted(best, 'layer')} {rest}; fine-tune all layers, at the full rate and a tenth",
        trained={f"A{best}B": SEEDS, f"A{top}B+": SEEDS, f"A{top}B+0.1": SEEDS},
    )
    yield Piece("train from scratch", trained={"baseB": SEEDS})
    if best != top:
        yield Piece(
            f"fine-tune the first {counted(best, 'layer')}, new layers above",
            trained={f"A{best}B+": SEEDS, f"A{best}B+0.1": SEEDS},
        )
    if low not in (best, top):
        yield Piece(f"freeze {counted(low, 'layer')} {rest}", trained={f"A{low}B": SEEDS, f"A{low}B+": SEEDS})


def more_seeds(source: Source, seeds: int) -> Piece:
    """Of everything that is compared, so many seeds."""
    readouts = {name: seeds for name in source.readouts if "@" not in name and source.readouts[name] >= SEEDS}
    return Piece(f"seed {seeds - 1} of all", readouts, dict.fromkeys(source.trained, seeds))


# ------------------------------------------------------------------------------------------ what it takes


@dataclass
class Speed:
    """How fast this machine is, as measured; corrected by what pieces took.

    operations: floating-point operations per second of one worker. readout: seconds of a linear classifier on all
    pictures, with its share of the features; None until one was fitted.
    """

    operations: float
    workers: int
    readout: float | None = None

    def reading(self, pictures: float) -> float:
        """Seconds of linear classifiers. pictures: those they are fitted to, as multiples of all training pictures."""
        return START + (self.readout or 0.0) * pictures

    def training(self, study: Study, names: Sequence[str], classes: int) -> float:
        """Seconds of networks that are trained. names: full ones."""
        networks = [study.by_name[name] for name in names]
        divided = fleets(networks, training_size(study, networks, classes, self.workers))
        return START + _busiest(study, divided, classes, self.workers) / self.operations

    def trained(self, expected: float, took: float) -> None:
        """Corrects the speed by networks that took another time than expected."""
        if expected > 2 * START:
            self.operations /= min(4.0, max(0.25, (took - START) / (expected - START)))

    def read(self, pictures: float, took: float) -> None:
        """Corrects the speed by linear classifiers. pictures: as above."""
        if pictures:
            self.readout = took / pictures


def training_size(study: Study, networks: Sequence[Network], classes: int, workers: int) -> int:
    """The size of fleets that leaves the busiest worker least to do: three seeds are no work for two workers.

    A smaller size counts if it saves a twentieth: networks of one fleet share their pictures, and frozen layers.
    """
    largest = max(len(fleet.networks) for fleet in fleets(networks))
    best, least = largest, _busiest(study, fleets(networks), classes, workers)
    for size in range(largest - 1, 0, -1):
        if (work := _busiest(study, fleets(networks, size), classes, workers)) < 0.95 * least:
            best, least = size, work
    return best


def _busiest(study: Study, divided: Sequence[Fleet], classes: int, workers: int) -> float:
    """Operations of the worker that has most to do, where each takes the next fleet when it is free."""
    work = [0.0] * workers
    for fleet in divided:
        work[work.index(min(work))] += fleet_operations(study, fleet, classes)
    return max(work)


def numbers_for(readouts: int, pictures: int, classes: int, seconds: float, speed: Speed) -> int:
    """How many numbers per picture leave room for so many linear classifiers in the seconds; the fewest if none do."""
    per_number = readouts * pictures * classes * CLASSIFIER / speed.operations / speed.workers
    return next((numbers for numbers in NUMBERS if per_number * numbers <= seconds), NUMBERS[-1])


def full_names(names: Mapping[str, int], first_seed: int) -> list[str]:
    """names: name → seeds."""
    return [f"{SPLIT}/{name}/seed-{first_seed + seed}" for name, seeds in names.items() for seed in range(seeds)]
