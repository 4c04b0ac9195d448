"""From pictures and minutes to an answer: look, pack, plan, train piece by piece, judge. Safe to stop and run again."""

import math
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from transferability.ask import file as experiments
from transferability.ask import plan
from transferability.ask.answer import Answer, Candidate, answer_of, candidates, likeliest_layers, mean_inner
from transferability.ask.file import LINEAR, SPLIT, Asked, Source
from transferability.ask.look import Pictures, look
from transferability.ask.words import SHORT, in_brackets, which_of
from transferability.data.pack import Options, pack
from transferability.data.packed import open_packed
from transferability.data.tasks import Tasks
from transferability.files import Missing, Refused, read_json, write_json
from transferability.launch.local import Job, ThisProcess, run_study, train_pending
from transferability.networks.cut import chain
from transferability.networks.facts import layer_facts
from transferability.published import Published
from transferability.recipe import Recipe
from transferability.runs.features import room
from transferability.runs.fit import refuse_mismatches
from transferability.runs.ledger import fleet_size, is_done, pending, tidy, with_sources
from transferability.runs.locks import Held
from transferability.runs.machine import Machine
from transferability.runs.paths import StudyFolder
from transferability.study import Study, fleets
from transferability.trained.published import images_for
from transferability.training.cost import fleet_operations
from transferability.training.forms import FleetKind, Probe, measure, task_sample

RESERVE = 30.0  # seconds for judging and writing
UNSCALED = 64.0  # what activations are divided by where pixels are not
MEASURED_CROP, MEASURED_BATCH = 96, 8


@dataclass(frozen=True)
class Question:
    """What is asked. networks: names, as torchvision:resnet18, each with its weights. crop: pixels; None: as time and
    pictures allow. file: the experiment file. folder_of: a study's folder, by its name. data: of packed sets."""

    pictures: str
    name: str
    networks: Sequence[tuple[str, Published]]
    minutes: float
    crop: int | None
    file: Path
    folder_of: Callable[[str], StudyFolder]
    data: Path
    machine: Machine
    workers: int
    first_seed: int = 0


def published(network: str, weights: str, mean: Sequence[float], std: Sequence[float], names: str) -> Published:
    """What the weights of a network are. Where pixels are not scaled, as in Caffe, activations are in the hundreds, and
    new layers hardly learn: they are then divided (`Published.unit`), unless norms do that."""
    found = Published(weights, mean=tuple(mean), std=tuple(std), names=names)
    if found.std and max(found.std) < 2 and not any(fact.buffers for fact in layer_facts(chain(network, 96), 10)):
        return replace(found, unit=UNSCALED)
    return found


def slug(text: str) -> str:
    """A word for a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "pictures"


@dataclass
class Asking:
    """A question while it is answered. spent: seconds of earlier calls. left_out: lines."""

    question: Question
    pictures: Pictures
    asked: Asked
    speed: plan.Speed
    say: Callable[[str], None]
    console: Console
    spent: float
    studies: tuple[Study, ...]
    begun: float
    left_out: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds."""
        return 60 * self.question.minutes - self.used - RESERVE

    @property
    def used(self) -> float:
        """Seconds, by all calls."""
        return self.spent + time.monotonic() - self.begun

    def save(self) -> None:
        """What the next call goes on from, beside the files of the study."""
        speed = {"operations": self.speed.operations, "readout": self.speed.readout}
        write_json(_notes(self.question), {"seconds": self.used, **speed})

    def study(self, source: Source) -> Study:
        return next(study for study in self.studies if study.name == source.study)

    def source(self, name: str) -> Source:
        return next(source for source in self.asked.sources if source.study == name)

    def candidates(self, source: Source) -> tuple[list[Candidate], dict[int, list[Candidate]]]:
        return candidates(self.study(source), self.question.folder_of(source.study))

    def linear(self, name: str) -> list[Candidate]:
        """The linear classifiers of a study, on all pictures."""
        return [one for one in self.candidates(self.source(name))[0] if one.rule == "linear"]

    def answer(self) -> Answer | None:
        found, fewer = [], {}
        for source in self.asked.sources:
            every, fewer[source.study] = self.candidates(source)
            found += every
        return answer_of(found, fewer, self.pictures.pool)


def ask(question: Question, say: Callable[[str], None], console: Console) -> Asking:
    """Tries what the minutes allow; what is done already counts. Its `answer` is the answer so far."""
    begun = time.monotonic()
    torch.set_num_threads(1)  # as `run` does: one process per core
    _refuse_same_name(question)
    asked = experiments.read(question.file)
    if asked is not None:
        _refuse_other(question, asked)
    pictures = look(question.pictures)
    for line in pictures.lines:
        say(line)
    notes = _read_notes(question)
    operations = notes.get("operations") or _measured(question, pictures)
    speed = plan.Speed(operations, question.workers, notes.get("readout"))
    if asked is None:
        asked = _begin(question, pictures, speed)
    studies, spent = experiments.write(question.file, asked), float(notes.get("seconds", 0.0))
    asking = Asking(question, pictures, asked, speed, say, console, spent, studies, begun)
    try:
        _pack(asking)
        _work(asking)
    except Held:
        raise
    except Refused as error:
        networks = [(question.folder_of(study.name), each.name) for study in asking.studies for each in study.networks]
        if any(is_done(folder, name) for folder, name in networks):
            raise
        for file in (question.file, _notes(question)):  # with other weights, or another size, it is no other question
            file.unlink(missing_ok=True)
        raise Refused(f"{error}{_about_size(question)}") from None
    finally:
        if question.file.exists():
            asking.save()
    return asking


# ------------------------------------------------------------------------------------------ before it starts


def _notes(question: Question) -> Path:
    return question.folder_of(_study_name(question, question.networks[0][0])).root / "asked.json"


def _read_notes(question: Question) -> Mapping[str, Any]:
    with suppress(Missing):
        return dict(read_json(_notes(question)))
    return {}


def _study_name(question: Question, network: str, crop: int = 0) -> str:
    """crop: of the study on larger pictures."""
    return f"{question.name}-{slug(network.rpartition(':')[2])}" + (f"-{crop}" if crop else "")


def _refuse_same_name(question: Question) -> None:
    """Refuses networks whose studies would have the same name."""
    names = [_study_name(question, network) for network, _ in question.networks]
    if twice := [network for (network, _), name in zip(question.networks, names, strict=True) if names.count(name) > 1]:
        raise Refused(
            f"--network {' and '.join(twice)}: of networks with the same name ask one after the other, each with a "
            "--name of its own"
        )


def _about_size(question: Question) -> str:
    """What else may be the reason, where nothing could be read."""
    fixed = not question.crop and not all(_fits_any_size(network) for network, _ in question.networks)
    return "; if the weights are of another size, --size PIXELS says it" if fixed else ""


def _refuse_other(question: Question, asked: Asked) -> None:
    """Refuses to go on with other pictures, networks, weights or sizes than an experiment file has."""
    before = {source.network: source.published for source in asked.sources}
    same = before == dict(question.networks) and question.first_seed == asked.first_seed
    # A side that was asked for is that of all networks.
    same = same and (question.crop is None or (question.crop == asked.crop and not asked.larger))
    if not same or Path(asked.pictures).resolve() != Path(question.pictures).resolve():
        what = f"{' and '.join(f'{name} ({one.weights})' for name, one in before.items())} at {asked.crop} pixels"
        raise Refused(
            f"{question.file} asks about {asked.pictures} and {what}, with options that may differ from these; give "
            "--name NAME for a question of its own, or the same options to go on"
        )


def _sources(question: Question, crop: int, larger: int = 0) -> tuple[Source, ...]:
    """Each network at the side that it is trained at; and each where it sees larger pictures, if it does."""
    sources = [Source(_study_name(question, n), n, published, crop) for n, published in question.networks]
    if larger:  # first: they say at which layers smaller pictures are worth trying
        sources = [Source(_study_name(question, n, larger), n, p, larger) for n, p in question.networks] + sources
    return tuple(sources)


def _measured(question: Question, pictures: Pictures) -> float:
    """Floating-point operations per second of one worker in training: of the slowest network, as a step shows."""
    gpu = question.machine.accelerator != "cpu" and torch.cuda.is_available()
    device, batch = torch.device("cuda", 0) if gpu else torch.device("cpu"), plan.BATCH if gpu else MEASURED_BATCH
    speeds = []
    with tempfile.TemporaryDirectory() as place:
        crop = question.crop or MEASURED_CROP
        for source in _sources(question, crop):
            top = chain(source.network, crop).depth - 1
            source = source.more(trained={f"A{top}B+": 1})
            data, numbers = {crop: "none"}, plan.NUMBERS[-1]
            asked = Asked(question.pictures, data, crop, plan.STEPS, plan.BATCH, 2, numbers, None, (source,))
            (study,) = experiments.write(Path(place) / "measured.py", asked)
            fleet = fleets([study.by_name[f"{SPLIT}/A{top}B+/seed-0"]])[0]
            probe = Probe(study, FleetKind((fleet,), len(pictures.counts)), "float32", batch)
            seconds = measure(probe, device, task_sample(probe, Path(place), device)).seconds
            per_image = fleet_operations(study, fleet, len(pictures.counts)) / fleet.recipe.steps / fleet.recipe.batch
            speeds.append(per_image * batch / seconds)
    return min(speeds)


def _begin(question: Question, pictures: Pictures, speed: plan.Speed) -> Asked:
    """The side of the pictures and the steps: the largest that the minutes allow, and the pictures have."""
    trained = _training(pictures)
    steps, batch = plan.steps_for(sum(trained)), plan.batch_for(trained)
    crops = [question.crop] if question.crop else [c for c in plan.CROPS if c * 8 / 7 <= pictures.side]
    crops = crops or [plan.CROPS[-1]]
    usable = [crop for crop in crops if crop >= plan.SMALLEST] or crops[:1]
    if fixed := 0 if question.crop else _fixed_side(question):
        usable = crops = [fixed]
    choices = [(crop, steps) for crop in usable] + [(usable[-1], max(plan.FEWEST_STEPS, steps // 2))]
    choices.append((usable[-1], plan.FEWEST_STEPS))
    side = usable[0]
    per_step = _operations_per_step(question, side)
    for crop, steps in choices:
        seconds = per_step * (crop / side) ** 2 * steps * plan.BATCH * plan.SEEDS / speed.operations / speed.workers
        if seconds <= 60 * plan.SHARE * question.minutes:
            break
    larger = _larger(question, pictures, speed, [each for each in crops if each > crop])
    data = {each: f"{question.name}-{math.ceil(each * 8 / 7)}" for each in (crop, larger) if each}
    validation = experiments.VALIDATION if pictures.pool else None
    folds = min(plan.FOLDS, min(trained))
    readouts = sum(chain(network, larger or crop).depth - 1 for network, _ in question.networks)
    seconds = 60 * plan.NUMBERS_SHARE * question.minutes
    numbers = plan.numbers_for(readouts, sum(trained), len(trained), seconds, speed)
    return Asked(
        question.pictures, data, crop, steps, batch, folds, numbers, validation,
        _sources(question, crop, larger), question.first_seed,
    )  # fmt: skip


def _larger(question: Question, pictures: Pictures, speed: plan.Speed, crops: Sequence[int]) -> int:
    """The largest of these sides at which the networks can read all pictures once; 0: none. Features cost no training,
    and those of a published network are best at the size that it was trained on."""
    for crop in crops:
        operations = sum(fact.operations for n, _ in question.networks for fact in layer_facts(chain(n, crop), 100))
        seconds = operations * pictures.everything / speed.operations / speed.workers
        if seconds <= 60 * plan.LARGER_SHARE * question.minutes:
            return crop
    return 0


def _fixed_side(question: Question) -> int:
    """The side in pixels that weights were trained at, where a network takes no other; 0: all take any."""
    for network, weights in question.networks:
        if not _fits_any_size(network):
            with suppress(Refused):
                return images_for(weights.weights).crop
            return plan.CROPS[0]
    return 0


def _fits_any_size(network: str) -> bool:
    """Whether its weights do not depend on the side of the pictures, as those of a ViT do: one for each place."""
    try:
        facts = [layer_facts(chain(network, crop), 10) for crop in (plan.CROPS[0], plan.SMALLEST)]
    except Refused:  # SMALLEST is too small for it
        return False
    return len({sum(fact.parameters for fact in each) for each in facts}) == 1


def _training(pictures: Pictures) -> list[int]:
    """Training pictures of each class."""
    counts = list(pictures.counts.values())
    return [count - max(1, round(experiments.VALIDATION * count)) for count in counts] if pictures.pool else counts


def _operations_per_step(question: Question, crop: int) -> float:
    """Of one image through what is usually trained for one seed: frozen, fine-tuned twice, from scratch; all networks.

    One trained network counts three forward passes, the frozen one two.
    """
    architectures = [chain(network, crop) for network, _ in question.networks]
    return sum(11.0 * fact.operations for each in architectures for fact in layer_facts(each, 100))


def _pack(asking: Asking) -> None:
    asked, question = asking.asked, asking.question
    for crop, name in asked.data.items():
        if not (question.data / name / "manifest.json").exists():
            resampling = "bicubic"
            with suppress(Refused):
                resampling = images_for(asked.sources[0].published.weights).resampling
            options = Options(math.ceil(crop * 8 / 7), squash=False, skip_unreadable=True, resampling=resampling)
            pack(question.pictures, question.data / name, options)
        packed, now = open_packed(question.data / name), sum(asking.pictures.counts.values())
        if len(packed.train.labels) != now:
            raise Refused(
                f"{packed.folder} holds {len(packed.train.labels):,} pictures, and {question.pictures} has {now:,} "
                "now: give --name NAME to ask about these, or put back what was there to go on"
            )
    asking.say(f"the networks see {asked.crop} x {asked.crop} pixels and train for up to {asked.steps} steps")
    if asked.larger:
        asking.say(f"linear classifiers are tried at {asked.larger} x {asked.larger} pixels, too")
    asking.say(
        f"linear classifiers see up to {asked.numbers:,} averages of a layer's map of each picture, or one per channel"
    )


# ------------------------------------------------------------------------------------------ piece by piece


def _work(asking: Asking) -> None:
    """Everything that the minutes allow, the most telling first."""
    pool, names = asking.pictures.pool, [source.study for source in asking.asked.sources]
    for source in asking.asked.sources:
        larger = next((each.study for each in asking.asked.sources if _is_larger(each, source)), "")
        _read_layers(asking, source.study, likeliest_layers(asking.linear(larger))[: plan.LIKELIEST] if larger else ())
    depths = {source.study: chain(source.network, source.crop).depth for source in asking.asked.sources}
    best = {name: likeliest_layers(asking.linear(name))[0] for name in names}
    per_class = min(_training(asking.pictures))
    name = max(names, key=lambda name: max(map(mean_inner, asking.linear(name))))
    _try(asking, name, plan.learning(best[name], per_class, asking.asked.folds, pool))
    trained = [source.study for source in asking.asked.sources if source.crop == asking.asked.crop]
    courses = [plan.training(depths[name], best[name]) for name in trained]
    while pieces := [
        (name, piece) for name, course in zip(trained, courses, strict=True) if (piece := next(course, None))
    ]:
        for name, piece in pieces:
            _try(asking, name, piece)
    for source in asking.asked.sources if pool else ():  # of all layers, where time was short at first
        if not any(_is_larger(each, source) for each in asking.asked.sources):
            _try(asking, source.study, plan.reading(_layers(source), plan.SEEDS))
    if asking.left_out:  # what is not there at all comes before more seeds of what is
        return
    for seeds in range(plan.SEEDS + 1, plan.MOST_SEEDS + 1):
        for name in names:
            if not _try(asking, name, plan.more_seeds(asking.source(name), seeds)):
                return


def _is_larger(one: Source, other: Source) -> bool:
    """Whether it is the same network, on larger pictures."""
    return one.network == other.network and one.crop > other.crop


def _read_layers(asking: Asking, name: str, only: Sequence[int] = ()) -> None:
    """A linear classifier on every layer, or on these alone, and more seeds of them all, or of the likeliest if time is
    short.

    Whatever the time: without these there is no answer.
    """
    source = asking.source(name)
    layers = sorted(only) or _layers(source)
    _train_what_is_left(asking, name, plan.reading(layers, 1))
    if not asking.linear(name):  # what a worker says of a failure stands above
        raise Refused(f"no layer of {source.network} could be read at {source.crop} pixels; see above")
    if not asking.pictures.pool:  # every seed would give the same
        return
    piece = plan.reading(layers, plan.SEEDS)
    expected = _expected(asking, name, piece)
    if expected and expected.seconds > plan.READING * asking.left:
        piece = plan.reading(sorted(likeliest_layers(asking.linear(name))[: plan.LIKELIEST]), plan.SEEDS)
    _train_what_is_left(asking, name, piece)


def _layers(source: Source) -> range:
    """All that can be read."""
    return range(1, chain(source.network, source.crop).depth)


def _train_what_is_left(asking: Asking, name: str, piece: plan.Piece) -> None:
    if expected := _expected(asking, name, piece):
        train_piece(asking, name, piece, expected)


def _try(asking: Asking, name: str, piece: plan.Piece) -> bool:
    """Trains a piece if there is time for it, else its first seed alone; whether all of it is done."""
    expected = _expected(asking, name, piece)
    if expected is None:
        return True
    if expected.seconds <= asking.left:
        train_piece(asking, name, piece, expected)
        return True
    asking.left_out.append(f"{_what(asking, name, piece)} ({_minutes(expected.seconds)})")
    if max((*piece.readouts.values(), *piece.trained.values())) <= plan.SEEDS:
        one = replace(piece, readouts=dict.fromkeys(piece.readouts, 1), trained=dict.fromkeys(piece.trained, 1))
        first = _expected(asking, name, one)
        if first and first.seconds <= asking.left:
            rest = _minutes(expected.seconds - first.seconds)
            asking.left_out[-1] = f"all seeds but one of: {_what(asking, name, piece)} ({rest})"
            train_piece(asking, name, one, first)
    return False


def _minutes(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60))} min"


def _with(asking: Asking, name: str, piece: plan.Piece) -> Asked:
    return asking.asked.with_source(asking.source(name).more(piece.readouts, piece.trained))


def _of_piece(piece: plan.Piece, first_seed: int) -> list[str]:
    """Full names of a piece's networks."""
    readouts = {f"{name}@{LINEAR}": seeds for name, seeds in piece.readouts.items()}
    return plan.full_names(readouts | dict(piece.trained), first_seed)


class Expected(NamedTuple):
    """What a piece will take. pictures: of its linear classifiers, as multiples of all training pictures."""

    seconds: float
    pictures: float


def _expected(asking: Asking, name: str, piece: plan.Piece) -> Expected | None:
    """What is left of a piece; None if it is done."""
    with tempfile.TemporaryDirectory() as place:
        studies = experiments.write(Path(place) / "tried.py", _with(asking, name, piece))
    study = next(study for study in studies if study.name == name)
    folder = asking.question.folder_of(name)
    names = _of_piece(piece, asking.asked.first_seed)
    left = [study.by_name[full] for full in names if not is_done(folder, full)]
    if not left:
        return None
    most, seconds = min(_training(asking.pictures)), 0.0
    trained = [network.name for network in left if network.variant != LINEAR]
    shares = [min(1.0, (network.images_per_class or most) / most) for network in left if network.variant == LINEAR]
    if shares:
        seconds += asking.speed.reading(sum(shares))
    if trained:
        seconds += asking.speed.training(study, trained, len(asking.pictures.counts))
    return Expected(seconds, sum(shares))


def train_piece(asking: Asking, name: str, piece: plan.Piece, expected: Expected) -> None:
    """Adds a piece to the experiment file, and trains it."""
    question = asking.question
    asking.asked = _with(asking, name, piece)
    asking.studies = experiments.write(question.file, asking.asked)
    asking.say(_progress(asking, name, piece, expected.seconds))
    study, folder = asking.study(asking.source(name)), question.folder_of(name)
    names = _of_piece(piece, asking.asked.first_seed)
    needed = with_sources(study, [study.by_name[full] for full in names])
    tasks = Tasks(study, question.data)
    refuse_mismatches(study, folder, needed, tasks)
    room(study, folder, needed, tasks)
    tidy(folder)
    job, began = Job(study, folder, question.data, question.machine), time.monotonic()
    left = [network for network in needed if not is_done(folder, network.name)]
    trained = [network for network in left if isinstance(network.recipe, Recipe)]
    if trained:
        size: int | None = plan.training_size(study, trained, len(asking.pictures.counts), question.workers)
    else:
        size = fleet_size(left, question.workers)
    waiting = pending(study, folder, needed, size)
    if question.workers == 1:
        try:
            train_pending(job, waiting, ThisProcess(job, lambda line: None), asking.say)
        except Held:
            raise
        except Refused as error:  # as several workers do: what else there is, goes on
            asking.say(f"failed: {error}")
    else:
        run_study(job, needed, waiting, question.workers, asking.console)
    took = time.monotonic() - began
    if not piece.trained:
        asking.speed.read(expected.pictures, took)
    elif not piece.readouts:
        asking.speed.trained(expected.seconds, took)
    asking.save()


def _progress(asking: Asking, name: str, piece: plan.Piece, expected: float) -> str:
    """What is being tried, the best so far, the time left."""
    left = f"[{max(0, round(asking.left / 60))} min left] "
    found = [one for source in asking.asked.sources for one in asking.candidates(source)[0]]
    best = ""
    if found:
        one = max(found, key=mean_inner)
        way = f"{SHORT[one.rule]}{f', n = {one.n}' * (one.n > 0)}{in_brackets(which_of(one, asking.asked.sources))}"
        best = f"; best so far: {way}, {100 * mean_inner(one):.1f} % (inner)"
    took = f", {_minutes(expected)}" if piece.trained or asking.speed.readout else ""
    return f"{left}{_what(asking, name, piece)}{took}{best}"


def _what(asking: Asking, name: str, piece: plan.Piece) -> str:
    """What is tried, of which network and at which side where there are several."""
    which = which_of(asking.source(name), asking.asked.sources)
    return f"{which}: {piece.what}" if which else piece.what
