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
import sys
from pathlib import Path

from transferability.ask.answer import Answer, Candidate, Judges, Rule, answer_of, candidates, compared, mean_inner
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


def beside(answer: Answer) -> list[Rule]:
    """Each way with enough seeds in common with the recommended rule, as a rule of its own that is compared with it.

    First, without a gap, the way that is the recommended rule itself in every seed, if there is one.
    """
    best, itself, others = answer.best, [], []
    for way, accuracy in answer.over_n:
        rule = Rule(way, mean_inner(way), way.judged, accuracy)
        if way is best.candidate and way.judged == best.values:
            itself.append(rule)
        elif len(way.judged.keys() & best.values.keys()) >= MIN_UNITS:
            others.append(rule)
    return itself + compared(best, others, Judges(answer.judging, answer.ratio, fixed=False))


def key(way: Candidate) -> tuple[str, int, str, int]:
    return way.network, way.crop, way.rule, way.n


def report(short: Answer, longer: Answer) -> str:
    """The answers, a line for each way of the longer study, and where the recommendation of the other stands.

    Refused if a seed is in both.
    """
    if same := sorted(short.best.values.keys() & longer.best.values.keys()):
        raise Refused(f"seed {same[0]} is in both; ask the longer one with another --first-seed")
    ways, recommended = beside(longer), key(short.best.candidate)
    rows = [("", "pixels", "n", "top-1 %", "seeds", "minus best", "p", "verdict", "")]
    for rule in sorted(ways, key=lambda rule: rule.gap.value if rule.gap else 0.0, reverse=True):
        way, gap = rule.candidate, rule.gap
        difference, p = (gap.signed, f"{rule.p:.3f}") if gap else ("itself", "")
        mark = "the answer" if key(way) == recommended else ""
        what = (SHORT[way.rule], str(way.crop), str(way.n or ""), rule.estimate.text, str(rule.estimate.seeds))
        rows.append((*what, difference, p, rule.verdict, mark))
    among = [rule for rule in ways if rule.verdict != "worse"]
    if not any(key(rule.candidate) == recommended for rule in ways):
        where = "what the answer recommends was not tried with enough seeds"
    elif any(key(rule.candidate) == recommended for rule in among):
        where = "what the answer recommends is among these"
    else:
        where = "what the answer recommends is not among these"
    untold = f"{len(among)} are the recommended one or not distinguishable from it"
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
