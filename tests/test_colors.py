"""The colors of figures and code, for readers who print in gray."""

import re

import matplotlib.pyplot as plt

from helpers.pdf.listing import highlight_macros
from helpers.report import COLORS, use_style


def test_in_gray_dashes_and_markers_tell_curves_apart():
    use_style()
    styles = [(s["linestyle"], s["marker"]) for s in plt.rcParams["axes.prop_cycle"]]
    assert len({str(dash) for dash, _ in styles}) == len({mark for _, mark in styles})
    assert len(styles) == len({mark for _, mark in styles}) == len(COLORS)


def test_code_is_dark_enough_to_read():
    for color in re.findall(r"\[HTML\]\{(\w{6})\}", highlight_macros()):
        c = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in c]
        light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (light + 0.05) >= 4.5, color  # contrast with white, WCAG 2.2
