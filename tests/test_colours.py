"""The colours of figures and code, for readers who see fewer of them or print in grey."""

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers.pdf.render import PrintStyle
from helpers.report import COLOURS, use_style

# Machado, Oliveira and Fernandes (2009), severity 1: what is left of linear red, green and blue.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(  # of sRGB (IEC 61966-2-1)
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colour: str) -> np.ndarray:
    """``#rrggbb`` as linear red, green and blue (3,)."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (3,), in which 2.3 is a just noticeable difference."""
    t = TO_XYZ @ rgb.clip(0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_colours_on_the_known_scale():
    np.testing.assert_allclose(lab(linear("#ffffff")), [100, 0, 0], atol=1e-9)
    np.testing.assert_allclose(lab(linear("#ff0000")), [53.24, 80.09, 67.20], atol=0.01)


@pytest.mark.parametrize("vision", VISION)
def test_curves_are_told_apart(vision):
    seen = [lab(np.array(VISION[vision]) @ linear(colour)) for colour in COLOURS]
    least = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert least > 15


def test_in_grey_dashes_and_markers_tell_curves_apart():
    use_style()
    styles = [(s["linestyle"], s["marker"]) for s in plt.rcParams["axes.prop_cycle"]]
    assert len(styles) == len(COLOURS)
    assert (
        len({str(dash) for dash, _ in styles}) == len({mark for _, mark in styles}) == len(styles)
    )


def test_code_is_dark_enough_to_read():
    colours = {c for style in PrintStyle.styles.values() for c in re.findall("#[0-9A-F]{6}", style)}
    assert colours
    for colour in colours:  # contrast with white as the WCAG 2.2 has it, 4.5 for text
        assert 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05) >= 4.5, colour
