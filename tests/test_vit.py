"""The Vision Transformer: against PyTorch's encoder, and what its numbers may depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import Proofs
from torch import nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from helpers import vit

few = settings(deadline=None, max_examples=15, derandomize=True)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def stirred(module):
    """The module with noise added to its parameters, some of which begin as zeros or ones."""
    for parameter in module.parameters():
        nn.init.normal_(noise := torch.empty_like(parameter), std=0.2)
        parameter.data += noise
    return module


def small(**changes):
    """A small model in evaluation mode, and a batch of images for it."""
    options = {"layers": 2, "heads": 3, "width": 24} | changes
    return stirred(vit.VisionTransformer(**options)).eval(), torch.randn(5, 28, 28)


def reference_block(block, width, heads):
    """PyTorch's encoder layer with the weights of our block."""
    options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, bias=False, **options)
    pairs = {
        layer.norm1.weight: block.norm1.weight,
        layer.norm2.weight: block.norm2.weight,
        layer.self_attn.in_proj_weight: block.attention.qkv.weight,
        layer.self_attn.out_proj.weight: block.attention.out.weight,
        layer.linear1.weight: block.up.weight,
        layer.linear2.weight: block.down.weight,
    }
    for target, source in pairs.items():
        target.data = source.data.clone()
    return layer


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
def test_a_block_is_pytorchs_pre_norm_encoder_layer(heads):
    ours = stirred(vit.Block(width=24, heads=heads).double())
    theirs = reference_block(ours, 24, heads)
    x = torch.randn(3, 10, 24, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x))
    (mine,), (other,) = (torch.autograd.grad(f(x).square().sum(), x) for f in (ours, theirs))
    torch.testing.assert_close(mine, other)


def test_the_model_is_pytorchs_encoder_and_a_classifier_of_the_mean():
    model, images = small(layers=2, heads=3)
    x = model.embed(model.patches(images)) + model.positions
    for block in model.blocks:
        x = reference_block(block, 24, 3)(x)
    mean = layer_norm(x, (24,), model.norm.weight).mean(1)
    torch.testing.assert_close(model(images), mean @ model.classify.weight.T + model.classify.bias)


def test_a_block_begins_by_adding_nothing():
    block, x = vit.Block(width=24, heads=4), torch.randn(3, 10, 24)
    assert torch.equal(block(x), x)
    assert not torch.equal(stirred(block)(x), x)


def test_attention_is_scaled_dot_product_attention():
    attention = stirred(vit.Attention(width=24, heads=4))
    x = torch.randn(3, 10, 24)
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    q, k, v = (t.unflatten(-1, (4, 6)).transpose(1, 2) for t in (q, k, v))
    expected = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x), attention.out(expected))


@few
@given(
    layers=st.integers(1, 9),
    heads=st.sampled_from([1, 2, 3, 4]),
    units=st.integers(1, 9),
    classes=st.integers(1, 12),
    grid=st.integers(1, 5),
    patch=st.integers(1, 5),
)
def test_formulas_count_parameters_and_operations(layers, heads, units, classes, grid, patch):
    sizes = {"layers": layers, "width": 12 * units, "classes": classes}
    sizes |= {"size": grid * patch, "patch": patch}
    with torch.device("meta"):
        model = vit.VisionTransformer(heads=heads, **sizes)
        image = torch.zeros(1, grid * patch, grid * patch)
        with FlopCounterMode(display=False) as counter:
            model(image)
    assert sum(p.numel() for p in model.parameters()) == vit.parameter_count(**sizes)
    assert counter.get_total_flops() == vit.product_operations(**sizes)


def test_operations_are_counted_for_the_patches_that_are_shown():
    model, images = small(kept=20)
    with FlopCounterMode(display=False) as counter:
        model.train()(images)
    expected = vit.product_operations(layers=2, width=24, tokens=20)
    assert counter.get_total_flops() == 5 * expected


def test_patches_are_the_squares_of_the_image_row_by_row():
    model, images = small()
    patches = model.patches(images)
    assert patches.shape == (5, 49, 16)
    for n in range(49):
        r, c = divmod(n, 7)
        square = images[:, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4]
        assert torch.equal(patches[:, n], square.flatten(1))


def test_only_positions_tell_the_patches_apart():
    model, images = small()
    nn.init.normal_(model.positions)
    tiles = model.patches(images)[:, torch.randperm(49)]
    moved = tiles.view(5, 7, 7, 4, 4).transpose(2, 3).reshape(5, 28, 28)
    with torch.no_grad():
        assert (model(moved) - model(images)).abs().max() > 1e-3
        model.positions.zero_()
        torch.testing.assert_close(model(moved), model(images))


def test_attention_weights_are_those_that_the_model_uses():
    model, images = small()
    with torch.no_grad():
        looks = vit.attention_weights(model, images)
        assert looks.shape == (2, 5, 3, 49, 49)
        torch.testing.assert_close(looks.sum(-1), torch.ones(2, 5, 3, 49))
        x = model.tokens(images)
        for block, weights in zip(model.blocks, looks, strict=True):
            values = block.norm1(x) @ block.attention.qkv.weight[48:].T  # (5, 49, 24)
            values = values.unflatten(-1, (3, 8)).transpose(1, 2)  # (5, 3, 49, 8)
            mixed = block.attention.out((weights @ values).transpose(1, 2).flatten(2))
            torch.testing.assert_close(mixed, block.attention(block.norm1(x)))
            x = block(x)


def test_bfloat16_computes_with_weights_kept_in_float32():
    model, images = small()
    coarse, _ = small(dtype=torch.bfloat16)
    coarse.load_state_dict(model.state_dict())
    exact, rounded = model(images), coarse(images)
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.05
    rounded.square().sum().backward()
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in coarse.parameters())


def test_training_shows_some_patches_and_evaluation_all():
    model, images = small(kept=20)
    model.train()(images).sum().backward()
    seen = model.positions.grad.abs().sum(1) > 0
    assert seen.sum() == 20
    assert model.train().tokens(images).shape == (5, 20, 24)
    assert model.eval().tokens(images).shape == (5, 49, 24)


def test_patches_shown_in_training_keep_their_positions():
    model, images = small(kept=20)
    everything = model.eval().tokens(images)
    shown = model.train().tokens(images)
    same = (shown[:, :, None] == everything[:, None]).all(-1)  # (5, 20, 49)
    assert torch.equal(same.sum(2), torch.ones(5, 20, dtype=torch.int64))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 64, "heads": 3}, "width 64 is not divisible by 3 heads"),
        ({"size": 28, "patch": 5}, "patches of 5 pixels do not tile images of 28"),
        ({"kept": 50}, "50 of 49 patches"),
        ({"kept": 0}, "0 of 49 patches"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        small(**sizes)


# The notebook's proofs, up to the training, each broken by one change in the helpers.


@pytest.fixture(scope="module")
def proofs():
    return Proofs("vit_training", vit, without=(), until="history = training.train(")


def test_every_claim_holds_before_anything_is_trained(proofs):
    assert all(proofs.claims.values()), proofs.claims


MUTATIONS = [
    ("tokens", "n, p).transpose(2, 3)", "n, p)"),
    ("against-reference", "D**-0.5", "D**-0.4"),
    ("against-reference", "self.up(self.norm2(x))", "self.up(x)"),
    ("heads-keep-parameters", "block = 12 * width**2 + 2 * width", "block = 12 * width**2"),
    ("heads-keep-parameters", "N * width**2 + 2 * N**2 * width", "N * width**2 + N**2 * width"),
    ("positions-needed", "self.embed(patches) + positions", "self.embed(patches) + 0 * positions"),
]


@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_a_broken_proof_fails(proofs, name, old, new):
    assert not proofs.holds(f"vit/{name}", old, new)


def test_each_claim_has_a_mutation(proofs):
    assert {f"vit/{name}" for name, _, _ in MUTATIONS} == set(proofs.claims)
