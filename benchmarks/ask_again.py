"""Does an answer of `ask` hold on other draws? Its recommendation among all that a longer study of the pictures tried.

    transferability ask pictures --minutes 15
    transferability ask pictures --minutes 60 --first-seed 100 --name pictures-long
    python benchmarks/ask_again.py experiments/asked/pictures.py experiments/asked/pictures_long.py

Each way that the longer study tried with three seeds or more is set beside the rule which that study recommends, where
each seed takes the layer that its inner pictures say: paired by seed, with 95 % intervals as in an answer; their p
values, not the intervals, have Holm's allowance for all of these ways together. A way is what the answer recommends if
it is the same rule on the same layer of the same network, at the same size of the pictures.

Cost: seconds; the two questions take their minutes.
"""

import argparse
import math
import sys
from pathlib import Path

from transferability.ask.answer import (
    LEVEL,
    Answer,
    Candidate,
    Estimate,
    Judges,
    answer_of,
    candidates,
    estimate,
    holm,
)
from transferability.ask.words import SHORT, sentence, wrapped
from transferability.files import Refused
from transferability.names import counted
from transferability.results.statistics import MIN_UNITS
from transferability.runs.paths import study_folder
from transferability.runs.status import aligned
from transferability.study import load_studies


def answer_in(file: Path) -> Answer:
    """The answer of the studies of an experiment file that `ask` wrote.

    Refused: if nothing is done; if one part of the pictures judges in every seed, so that there are no other draws.
    """
    found: list[Candidate] = []
    for study in load_studies(file):
        if study.validation is None:
            raise Refused(f"{file}: the validation part judges in every seed; there are no other draws")
        found += candidates(study, study_folder(study.name))[0]
    answer = answer_of(found, {}, pool=True)
    if answer is None:
        raise Refused(f"{file}: nothing is done; run it first")
    return answer


def beside(answer: Answer) -> list[tuple[Candidate, Estimate, float]]:
    """(way, its difference to the recommended rule, p adjusted) of each way with enough seeds in common with it.

    p: NaN of a way that is the rule itself in every seed.
    """
    judges = Judges(answer.judging, answer.ratio, fixed=False)
    best, others, itself = answer.best.values, [], []
    for way, _ in answer.over_n:
        both = sorted(way.judged.keys() & best.keys())
        if len(both) >= MIN_UNITS:
            gap = estimate([way.judged[seed] - best[seed] for seed in both], judges)
            same = way is answer.best.candidate and way.judged == best
            (itself if same else others).append((way, gap))
    adjusted = holm([gap.p for _, gap in others])
    told = [(way, gap, p) for (way, gap), p in zip(others, adjusted, strict=True)]
    return [(way, gap, math.nan) for way, gap in itself] + told


def key(way: Candidate) -> tuple[str, int, str, int]:
    return way.network, way.crop, way.rule, way.n


def report(short: Answer, longer: Answer) -> str:
    """The answers, a line for each way of the longer study, and where the recommendation of the other stands.

    Refused if a seed is in both.
    """
    if same := sorted(short.best.values.keys() & longer.best.values.keys()):
        raise Refused(f"seed {same[0]} is in both; ask the longer one with another --first-seed")
    ways = beside(longer)
    rows = [("", "pixels", "n", "top-1 %", "seeds", "minus best", "p", "")]
    for way, gap, p in sorted(ways, key=lambda row: -row[1].value):
        top1 = 100 * sum(way.judged.values()) / len(way.judged)
        mark = "the answer" if key(way) == key(short.best.candidate) else ""
        n, seeds = str(way.n or ""), str(gap.seeds)
        difference, sure = ("itself", "") if math.isnan(p) else (gap.text, f"{p:.3f}")
        rows.append((SHORT[way.rule], str(way.crop), n, f"{top1:.1f}", seeds, difference, sure, mark))
    told = sum(p < LEVEL for *_, p in ways)
    mine = [p for way, _, p in ways if key(way) == key(short.best.candidate)]
    if not mine:
        where = "what the answer recommends was not tried with enough seeds"
    elif mine[0] < LEVEL:
        where = "what the answer recommends is not among these"
    else:
        where = "what the answer recommends is among these"
    untold = f"{len(ways) - told} are the recommended one or not distinguishable from it"
    tried = f"{counted(len(ways), 'way')}; {untold}; {where}"
    answers = (f"{name}: {sentence(each)}" for name, each in (("answer", short), ("longer", longer)))
    return "\n\n".join([*map(wrapped, answers), "\n".join(aligned(rows)), wrapped(tried)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answer", type=Path, metavar="ANSWER.py", help="the experiment file of the answer")
    parser.add_argument("longer", type=Path, metavar="LONGER.py", help="that of the longer study")
    options = parser.parse_args()
    try:
        print(report(answer_in(options.answer), answer_in(options.longer)))
    except Refused as error:
        print(f"ask_again: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
