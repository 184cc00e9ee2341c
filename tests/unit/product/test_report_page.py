"""The page that shows a product: whole in itself, escaped, in order, readable."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloudfree.core.source import OTHER_DAYS, RECONSTRUCTED, SEEN
from cloudfree.product import report
from cloudfree.product.layers import NO_DAYS
from cloudfree.product.report_page import make_report
from tests.reports import make_looks, make_summary

CHECK: dict[str, Any] = {
    "seed": 0,
    "places": 8,
    "pixels": 12_345,
    "seconds": 12.3,
    "why_not": "",
    "models": {
        "small": {
            "psnr_db": 17.34,
            "psnr_db_low": 16.5,
            "psnr_db_high": 18.7,
            "ssim": 0.5,
            "mae": 0.0312,
            "sam_deg": 4.1,
            "ndvi_mae": None,
        },
        "baseline": {"psnr_db": 16.1, "mae": 0.04, "ssim": 0.4, "sam_deg": None, "ndvi_mae": 0.1},
    },
    "calibration": None,
}
BOTH_KINDS: dict[str, Any] = {
    **CHECK,
    "other_days": {
        "places": 5,
        "pixels": 6_789,
        "why_not": "",
        "models": {
            "other days": {**CHECK["models"]["small"], "mae": 0.0101, "psnr_db": 31.5},
            "line": {**CHECK["models"]["small"], "mae": 0.0155},
            "small": CHECK["models"]["small"],
        },
        "calibration": None,
        "mean_days": 12.5,
    },
}
_VOID = {"meta", "link", "img", "input", "br"}
_MAY_LOAD = ("src", "href", "srcset", "data", "poster", "action", "background", "xlink:href")


class Page(HTMLParser):
    """The elements of a page, its texts, and tags that do not match."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(content)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def one() -> str:
    """The page of one date, with everything on it."""
    summary = make_summary(
        warnings=["two & more"],
        check=BOTH_KINDS,
        left_out=[{"time": "2024-01-02T10:20:00+00:00", "optical": ["dark"], "seen_share": 0.0312}],
    )
    return make_report(make_looks(1), summary)


def test_nothing_on_the_page_is_asked_for_elsewhere(one: str) -> None:
    page = Page(one)
    loaded = [attrs[name] or "" for _, attrs in page.tags for name in _MAY_LOAD if name in attrs]
    assert len(loaded) > 5
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert not re.search(r"https?://|url\(|@import", one)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_the_policy_allows_the_pages_own_script_alone(one: str) -> None:
    policy = next(
        attrs["content"] or ""
        for attrs in Page(one).all("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    (script,) = re.findall(r"<script>(.*?)</script>", one, re.DOTALL)
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{sha256}'" in policy
    assert policy.startswith("default-src 'none'")


def test_what_comes_from_elsewhere_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    summary = make_summary(
        warnings=[evil],
        model=evil,
        mask_file=evil,
        retries={evil: 1},
        attribution=evil,
        left_out=[{"time": "2024-01-02T10:20:00+00:00", "optical": [evil], "seen_share": 0.01}],
        check={**CHECK, "models": {evil: CHECK["models"]["small"]}},
    )
    (step,) = summary["steps"]
    step["offsets"][step["optical"][0]]["why"] = evil
    step["considered"][0]["scenes"] = [evil]
    summary["scenes"][0]["kind"] = evil
    content = make_report(make_looks(1), summary)
    page = Page(content)
    assert len(page.all("script")) == 1
    assert "<img src=x" not in content
    assert page.text.count("<script>alert(1)</script>") >= 9


@pytest.mark.parametrize("n_steps", [1, 3])
def test_headings_pictures_and_tables_can_be_read_out(n_steps: int) -> None:
    page = Page(make_report(make_looks(n_steps), make_summary(n_steps, check=CHECK)))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"
    pictures = [img for img in page.all("img") if img.get("class") != "outline"]
    assert all(picture["alt"] for picture in pictures)
    assert len(pictures) == 6 * n_steps
    assert len(page.all("table")) == len(page.all("caption")) > 3
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    drawn = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true"]
    assert len(drawn) == 4 * n_steps
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawn)
    sliders = [one for one in page.all("input") if one["type"] == "range"]
    assert len(sliders) == n_steps
    assert all(slider["aria-label"] for slider in sliders)
    assert len(page.all("label")) == len(page.all("input")) - n_steps
    named = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(named) == len(set(named))
    assert {s["aria-labelledby"] for s in page.all("section")} <= set(named)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_texts_and_lines_stand_out_in_light_and_dark(one: str) -> None:
    themes = [dict(re.findall(r"--(\w+): (#\w+);", block)) for block in _roots(one)]
    assert len(themes) == 2
    assert themes[0]["ground"] != themes[1]["ground"]
    wanted = [("ink", "ground", 4.5), ("quiet", "ground", 4.5), ("ink", "panel", 4.5)]
    wanted += [("quiet", "panel", 4.5), ("ink", "warn", 4.5)]
    wanted += [(name, "ground", 3.0) for name in ("made", "seen", "focus")]
    for theme in themes:
        for name, behind, least in wanted:
            light, dark = sorted((_luminance(theme[name]), _luminance(theme[behind])))[::-1]
            assert (light + 0.05) / (dark + 0.05) >= least, (name, behind)


def _roots(page: str) -> list[str]:
    return re.findall(r":root \{(.*?)\}", page, re.DOTALL)


def test_figures_and_reasons_are_there(one: str) -> None:
    text = Page(one).text
    for said in (
        "60 %", "10 %", "29.9 %", "0.1 %",  # seen, of other days, reconstructed, not restored
        "10 % 40 px, of those made",
        "with the help of other days and Sentinel-1 radar",
        "Those made of other days", "Reconstructed ones", "Those not restored",
        "S2B_before_0000 2024-01-03 10:20 UTC 5 before 20 %",
        "S2A_after_0000 2024-01-03 10:20 UTC 10 after 5.1 %",
        "two & more",
        "offset -1000 DN: processing baseline 05.10",
        "VV, 17.5 h before the optical scene",
        "less 0.1 for each day of distance",
        "dark 3.1 %",
        "restoration 40.0 94.1 %",
    ):  # fmt: skip
        assert said in text, said
    assert text.count("yes") == 2
    assert text.count(" no ") >= 1


def test_the_expected_error_is_told_as_far_as_it_is_known(one: str) -> None:
    text = Page(one).text
    assert "12,345 pixels in 8 places" in text
    assert "reconstructed pixels are off by 0.0312 in reflectance on average" in text
    assert "the best of what is compared with them, baseline, by 0.0400." in text
    assert "pixels made of other days are off by 0.0101 in reflectance on average" in text
    assert "the best of what is compared with them, line, by 0.0155." in text
    assert "6,789 pixels in 5 places, the nearest other day 12.5 days away on average" in text
    assert "other days 0.0101 31.5 (16.5 to 18.7) 0.50 4.1" in text
    assert "small 0.0312 17.3 (16.5 to 18.7) 0.50 4.1 not measured" in text
    assert "baseline 0.0400 16.1 0.40 not measured 0.100" in text


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (None, "switched off"),
        (
            {**CHECK, "models": {}, "why_not": "no clear ground"},
            "The reconstructed pixels could not be checked: no clear ground.",
        ),
    ],
)
def test_a_check_that_was_not_made_says_why(check: Any, said: str) -> None:
    text = Page(make_report(make_looks(1), make_summary(check=check))).text
    assert "Expected error" in text
    assert said in text


def test_without_a_check_there_is_no_word_of_it() -> None:
    assert "Expected error" not in make_report(make_looks(1), make_summary())


def test_a_step_without_radar_and_without_seam() -> None:
    summary = make_summary()
    summary["steps"][0] |= {"radar": [], "radar_age_h": None, "radar_considered": []}
    (look,) = make_looks(1)
    look.counts.seam_pairs[:] = 0
    text = Page(make_report([look], summary)).text
    assert "No radar was in reach" in text
    assert "No seen pixel lies beside" in text


def test_a_product_without_other_days_has_no_map_of_them() -> None:
    summary = make_summary()
    summary["steps"][0]["reference_shares"] = []
    summary["pixels"] |= {"other_days": 0}
    (look,) = make_looks(1)
    source = np.where(look.source == OTHER_DAYS, RECONSTRUCTED, look.source)
    none_used = np.full(source.shape, NO_DAYS, np.int16)
    for days, asked in ((none_used, True), (None, False)):
        if not asked:
            del summary["request"]["settings"]["references"]
        page = Page(make_report([replace(look, source=source, reference_days=days)], summary))
        assert not [one for one in page.all("img") if "days to" in (one["alt"] or "")]
        assert "with the help of Sentinel-1 radar" in page.text
        assert "Those made of other days" not in page.text
        assert ("No other day of this ground was in reach" in page.text) is asked


@pytest.mark.parametrize("n_steps", [2, 20, 73])
def test_a_long_interval_keeps_the_page_small(n_steps: int) -> None:
    page = make_report(make_looks(n_steps), make_summary(n_steps))
    assert len(page) < 5_700_000  # pictures of noise; those of scenes take about half as much
    assert page.count("<details") == n_steps


def test_one_place_without_near_infrared_needs_no_bracket_and_no_ndvi() -> None:
    own = {**CHECK["models"]["small"], "psnr_db_low": None, "psnr_db_high": None}
    check = {**CHECK, "places": 1, "models": {"small": own}}
    text = Page(make_report(make_looks(1), make_summary(check=check))).text
    assert "12,345 pixels in 1 place." in text
    assert "In brackets" not in text
    assert "NDVI" not in text


def test_a_line_lies_around_what_was_reconstructed() -> None:
    source = np.full((9, 12), SEEN, np.uint8)
    source[2:6, 3:6] = RECONSTRUCTED
    source[2:6, 6:8] = OTHER_DAYS  # no line lies between the two
    picture = Image.open(io.BytesIO(base64.b64decode(report.outline(source).split(",")[1])))
    opaque = np.asarray(picture.convert("RGBA"))[..., 3] > 0
    expected = source != SEEN
    expected[3:5, 4:7] = False
    assert (opaque == expected).all()
