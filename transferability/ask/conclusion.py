"""What an answer is made of beside accuracies: costs, the file that is handed over, confusions, the page, the text."""

from contextlib import suppress

import torch

from transferability.ask.answer import Candidate
from transferability.ask.asking import Asking
from transferability.ask.best import confusions, hand_over
from transferability.ask.page import write_answer
from transferability.ask.words import Cost, cost_of, seconds_of, text
from transferability.files import Refused
from transferability.launch.layers import timed_layers
from transferability.names import counted
from transferability.report.gather import gather
from transferability.report.page import write_page
from transferability.study import Study
from transferability.trained.export import refuse_without_onnx

TIMED_BATCH = 8


def conclude(asking: Asking, onnx: bool = False) -> str:
    """Writes best.safetensors and the pages of all studies; the answer for a terminal. Refused if nothing is done."""
    answer = asking.answer()
    if answer is None:
        raise Refused("nothing was finished in this time; run the same command again, or give more --minutes")
    question, studies = asking.question, {study.name: study for study in asking.studies}
    classes = len(asking.pictures.counts)
    times = {name: _times(study, classes) for name, study in studies.items()}
    costs = [_cost(rule.candidate, studies, classes, times) for rule in answer.rules]
    best = answer.best.candidate
    study, folder = studies[best.study], question.folder_of(best.study)
    more, shown = [], None
    if (folder.root / "best.onnx").exists():  # an earlier call wrote it
        with suppress(Refused):
            refuse_without_onnx()
            onnx = True
    try:
        file, predictor = hand_over(study, folder, question.data, best, onnx)
        more.append(f"written: {file}, and best.py beside it; try `transferability predict {file} PICTURE`")
        shown = confusions(study, question.data, best, predictor)
    except Refused as error:  # the answer is worth more than its file
        more.append(f"not handed over: {error}")
    else:  # and no file of an earlier winner stays
        kept = {file, file.with_suffix(".py"), *([file.with_suffix(".onnx")] if onnx else [])}
        for name in studies:
            written = {question.folder_of(name).root / f"best{suffix}" for suffix in (".safetensors", ".py", ".onnx")}
            for other in written - kept:
                other.unlink(missing_ok=True)
    if (large := asking.asked.larger) and any(source.trained for source in asking.asked.sources):
        small = asking.asked.crop
        more.insert(
            0,
            f"networks that are trained see {small} x {small} pixels, as time allows; what they would reach on {large} "
            f"x {large} is not known: --size {large} with another --name and more --minutes would tell",
        )
    if asking.left_out:
        more.insert(0, f"left out for lack of time: {'; '.join(asking.left_out)}")
    more.append(f"experiment: {question.file}; {asking.used / 60:.1f} of {question.minutes:g} minutes were used")
    per_seed = sum(seconds_of(one) for one, _ in answer.over_n) / question.workers
    more += [f"page: {question.folder_of(name).page}" for name in studies]
    for name, each in studies.items():
        write_answer(question.folder_of(name).answer, answer, costs, shown, per_seed, more)
        write_page(gather(each, question.folder_of(name)))
    if shown and shown[0]:
        first = shown[0][0]
        pictures = counted(len(first.rows), "picture")
        more.append(f"most confused: {pictures} of {first.is_class} taken for {first.taken_for}")
    return text(answer, costs, more, per_seed)


def _times(study: Study, classes: int) -> list[float]:
    """Milliseconds per picture of each layer here."""
    torch.set_num_threads(1)
    return [layer.milliseconds for layer in timed_layers(study.architecture, classes, TIMED_BATCH)]


def _cost(candidate: Candidate, studies: dict[str, Study], classes: int, times: dict[str, list[float]]) -> Cost:
    return cost_of(candidate, studies[candidate.study].architecture, classes, times[candidate.study])
