"""What a reader sees of a figure's texts, and whether they can be read."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """The texts that a reader sees: tick labels outside the view are not drawn."""
    figure.set_canvas(FigureCanvasAgg(figure))
    figure.draw_without_rendering()
    hidden = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                inside = low - 1e-9 <= tick.get_loc() <= high + 1e-9 and axes.axison
                hidden |= set() if inside else {tick.label1, tick.label2}
        if not axes.axison:
            hidden |= {axes.xaxis.label, axes.yaxis.label, axes.xaxis.offsetText, axes.yaxis.offsetText}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in found if t not in hidden]


def assert_legible(figure: Figure, name: str) -> None:
    """No two texts overlap, and none leaves the page."""
    boxes = [(t.get_text().replace("\n", " "), Text.get_window_extent(t)) for t in texts(figure)]
    assert len(boxes) > 3
    page = figure.bbox
    for text, box in boxes:
        inside = page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1
        assert inside, f"{name}: {text!r} leaves the page"
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        # Boxes of text have some air of their own above and below the letters.
        assert width < 1 or height < 2, f"{name}: {one!r} overlaps {two!r}"
