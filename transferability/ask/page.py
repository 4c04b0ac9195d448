"""The answer on the study's page: a section that `report` puts at its top, from <runs>/<study>/answer.html."""

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from transferability.ask.answer import Answer
from transferability.ask.best import Confusion
from transferability.ask.curves import curves
from transferability.ask.words import Cost, about, layer_rows, learning_lines, rule_rows, sentence, what_would_tell
from transferability.files import write_atomically
from transferability.report.page import MINUS, items, table

MOST_CONFUSIONS, MOST_PICTURES, SIDE = 6, 6, 64


def write_answer(
    file: Path,
    answer: Answer,
    costs: Sequence[Cost],
    confusions: tuple[Sequence[Confusion], np.ndarray] | None,
    seconds_per_seed: float,
    more: Sequence[str],
) -> None:
    """Writes the section of a study."""
    rules = rule_rows(answer, costs)
    parts = [f"<p><b>{escape(sentence(answer))}</b></p>", _table(rules)]
    parts.append(f'<p><img alt="accuracy over n" src="data:image/png;base64,{_text_of(curves(answer))}"></p>')
    for study in dict.fromkeys(one.study for one, _ in answer.over_n):
        parts.append(
            f"<h3>Top-1 at each layer <small>{escape(study)}, %</small></h3>{_table(layer_rows(answer, study))}"
        )
    for title, lines in (
        ("Cannot tell, and what would tell", what_would_tell(answer, seconds_per_seed)),
        ("More pictures", learning_lines(answer)),
        ("Left out, and written", list(more)),
    ):
        if lines:
            parts.append(f"<h3>{title}</h3>{items(lines)}")
    if confusions:
        parts.append(_confusions(*confusions))
    parts.append(f'<p class="small">{escape(about(answer))}</p>')
    with write_atomically(file, "w") as handle:
        handle.write("\n".join(parts))


def _table(rows: Sequence[Sequence[str]]) -> str:
    texts = [[re.sub(r"^-(?=\d)", MINUS, cell) for cell in row] for row in rows]
    return table(list(texts[0]), texts[1:], left=(0,))


def _confusions(found: Sequence[Confusion], images: np.ndarray) -> str:
    """The pairs of classes that are taken for each other most, with their pictures."""
    if not found:
        return ""
    rows = [
        [
            escape(each.is_class),
            escape(each.taken_for),
            str(len(each.rows)),
            "".join(_picture(images[row]) for row in each.rows[:MOST_PICTURES]),
        ]
        for each in found[:MOST_CONFUSIONS]
    ]
    heads = ["is", "taken for", "pictures", ""]
    title = "<h3>Confusions <small>pictures that judge the first seed</small></h3>"
    return title + table(heads, rows, left=(0, 1, 3), raw=True)


def _picture(pixels: np.ndarray) -> str:
    image, content = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(content, "JPEG", quality=80)
    return f'<img alt="" src="data:image/jpeg;base64,{_text_of(content.getvalue())}">'


def _text_of(content: bytes) -> str:
    return base64.b64encode(content).decode()
