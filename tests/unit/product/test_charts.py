"""Charts: numbers where they belong, texts escaped, well-formed."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from cloudfree.product.charts import draw_bar, draw_histogram, draw_seam, round_up


def ends(path: str) -> list[tuple[float, float]]:
    """Return the points of a line."""
    points = path.strip("MZ").split("L")
    return [(float(x), float(y)) for x, y in (point.split() for point in points)]


@pytest.mark.parametrize(
    ("value", "end"), [(0.149, 0.16), (0.0061, 0.008), (1, 1), (7, 8), (0.3, 0.3), (95, 100)]
)
def test_an_axis_ends_at_a_round_number_above(value: float, end: float) -> None:
    assert round_up(value) == pytest.approx(end)


def test_the_higher_share_is_drawn_higher() -> None:
    chart = ElementTree.fromstring(
        draw_histogram([0.75, 0.25], [0.2, 0.8], bin_width=0.1, alternative="a <b> & c")
    )
    assert chart.get("aria-label") == "a <b> & c"
    assert chart.get("role") == "img"
    seen, made = (ends(path.get("d") or "") for path in chart.iter("path"))
    bottom = seen[0][1]
    heights = [bottom - seen[1][1], bottom - seen[3][1]]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.3)
    assert made[0][1] > made[2][1]
    assert made[2][1] < seen[1][1]


def test_a_seam_shows_each_distance_that_is_known() -> None:
    steps = [0.01, None, 0.01, 0.04, 0.02, 0.02, None]
    chart = ElementTree.fromstring(draw_seam(steps, alternative="seam"))
    dots = [(dot.get("class"), float(dot.get("cy") or 0)) for dot in chart.iter("circle")]
    assert [kind for kind, _ in dots] == ["seen", "seen", "border", "made", "made"]
    assert dots[2][1] == min(y for _, y in dots)


def test_a_bar_is_as_long_as_its_share() -> None:
    bar = ElementTree.fromstring(draw_bar(0.25))
    assert next(bar.iter("rect")).get("width") == "25.0"
