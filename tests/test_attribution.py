"""Attributions: they add up, pieces join to words, and the picture holds all of them."""

import matplotlib.pyplot as plt
import pytest
import torch

from helpers.attribution import by_word, draw_words, integrated_gradients
from helpers.sentiment_transformer import AttentionHead, SentimentClassifier


def test_attributions_add_up_to_the_change(small_bert):
    torch.manual_seed(0)
    model = SentimentClassifier(small_bert, AttentionHead(width=6, hidden=5))
    ids = torch.tensor([2, 11, 25, 8, 30, 3])
    shares, change = integrated_gradients(model, ids, points=48)
    assert shares.shape == (6,)
    assert shares[0] == shares[-1] == 0  # [CLS] and [SEP] are there in the blank review, too
    assert abs(change) > 1e-3
    assert shares.sum().item() == pytest.approx(change, abs=0.02 * abs(change) + 1e-4)
    blank = torch.tensor([2, 0, 0, 0, 0, 3])
    with torch.no_grad():
        ends = model(torch.stack([blank, ids]), torch.tensor([6, 6]))
    assert change == pytest.approx((ends[1] - ends[0]).item(), abs=1e-5)


def test_pieces_join_to_words():
    pieces, shares = ["un", "##watch", "##able", "film"], [1.0, 2.0, -0.5, 4.0]
    assert by_word(pieces, shares) == (["unwatchable", "film"], [2.5, 4.0])
    assert by_word(["##s", "a"], [1.0, 2.0]) == (["##s", "a"], [1.0, 2.0])
    assert by_word([], []) == ([], [])


@pytest.mark.parametrize("values", [[0.5, -1.25, 0.0], [0.0, 0.0, 0.0]])
def test_the_picture_has_every_word_and_number_inside(values):
    fig, ax = plt.subplots()
    words = ["a", "disappointment", "film"]
    draw_words(ax, words, values, columns=20)
    texts = {text.get_text(): text.get_position() for text in ax.texts}
    assert [word for word in words if word not in texts] == []
    assert all(f"{value:+.2f}" in texts for value in values)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert all(left < x < right and low < y < high for x, y in texts.values())
    assert texts["film"][1] < texts["a"][1]  # on the next line
    plt.close(fig)
