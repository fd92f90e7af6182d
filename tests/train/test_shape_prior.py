"""Training held to shapes: the code of the prediction is compared with that of the truth."""

import numpy as np
import pytest
import torch

from cohortseg.settings import UNetMethod
from cohortseg.steps.objective import changing, held_to
from cohortseg.train.losses import IGNORE, cross_entropy, one_hot
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import constant
from cohortseg.train.shape_prior import code_distance, held_to_shapes, learn_shapes, with_shapes

CPU = torch.device("cpu")


class Discs:
    """Images of one disc of random place and size in noise."""

    steps_per_epoch = 1.0

    def batch(self, step):
        random = np.random.default_rng([7, step])
        labels = np.zeros((4, 22, 24), np.int64)
        y, x = np.indices(labels.shape[1:])
        for label in labels:
            centre, radius = random.uniform(8, 14, 2), random.uniform(4, 7)
            label[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = 1
        images = (labels + random.normal(0, 0.2, labels.shape)).astype(np.float32)[:, None]
        return images, labels


@pytest.fixture(scope="module")
def shapes():
    return learn_shapes(Discs(), dims=2, n_classes=2, steps=150, code=8, seed=1, device=CPU)


def certain(target):
    return (2.0 * one_hot(target, 2) - 1.0) * 40


def test_it_is_zero_exactly_when_the_codes_are_equal(shapes):
    target = torch.from_numpy(Discs().batch(999)[1])
    assert code_distance(shapes, certain(target), target) < 1e-10
    assert code_distance(shapes, certain(target.roll(2, 2)), target) > 1e-4
    assert code_distance(shapes, certain(1 - target), target) > code_distance(
        shapes, certain(target.roll(1, 2)), target
    )


def test_it_has_learnt_the_shapes_and_is_learnt_no_more(shapes):
    target = torch.from_numpy(Discs().batch(998)[1])
    padded = torch.nn.functional.pad(one_hot(target, 2), [0, 0, 1, 1], mode="replicate")
    found = shapes(padded)[:, :, 1:-1].argmax(1)
    assert 2 * (found * target).sum() / (found.sum() + target.sum()) > 0.95
    assert not any(parameter.requires_grad for parameter in shapes.parameters())


def test_the_gradient_goes_to_the_prediction_and_not_where_nobody_annotated(shapes):
    target = torch.from_numpy(Discs().batch(997)[1])
    target[:, :, 20:] = IGNORE
    logits = torch.randn(4, 2, 22, 24, generator=torch.Generator().manual_seed(1)).requires_grad_()
    code_distance(shapes, logits, target).backward()
    assert (logits.grad[..., 20:] == 0).all()
    assert (logits.grad[..., :20] != 0).any()


def test_without_weight_it_is_the_plain_loss_and_coarser_results_are_left_alone(shapes):
    target = torch.from_numpy(Discs().batch(996)[1])
    logits = torch.randn(4, 2, 22, 24, generator=torch.Generator().manual_seed(2))
    plain = cross_entropy()(logits, target)
    assert held_to_shapes(cross_entropy(), shapes, 0.0, (22, 24))(logits, target) == plain
    assert held_to_shapes(cross_entropy(), shapes, 1.0, (44, 48))(logits, target) == plain
    found = held_to_shapes(cross_entropy(), shapes, 3.0, (22, 24))(logits, target)
    torch.testing.assert_close(found, plain + 3.0 * code_distance(shapes, logits, target))


def test_shapes_depend_on_seed_and_labels_alone(shapes):
    class Other(Discs):
        def batch(self, step):
            images, labels = super().batch(step)
            return images * 0, labels

    again = learn_shapes(Other(), dims=2, n_classes=2, steps=150, code=8, seed=1, device=CPU)
    assert all(torch.equal(one, two) for one, two in zip(shapes.parameters(), again.parameters(), strict=True))


def test_a_recipe_is_held_at_every_step(shapes):
    recipe = Recipe(
        loss=cross_entropy(), loss_at=lambda step: cross_entropy(), schedule=constant, steps=2, learning_rate=1, seed=1
    )
    held = with_shapes(recipe, shapes, 2.0, (22, 24))
    target = torch.from_numpy(Discs().batch(995)[1])
    logits = torch.zeros(4, 2, 22, 24)
    expected = cross_entropy()(logits, target) + 2.0 * code_distance(shapes, logits, target)
    for loss in (held.loss, held.loss_at(0), held.loss_at(1)):
        torch.testing.assert_close(loss(logits, target), expected)


def test_settings_ask_for_it_by_its_weight():
    sizes = {"dims": 2, "n_classes": 2, "size": (22, 24)}
    for options, asked in ((None, False), ({"shape_weight": 1.0, "shape_steps": 2, "shape_code": 4}, True)):
        method = UNetMethod(method="unet", loss_options=options)
        parts = changing(method, n_classes=1, spacing_mm=(1.0, 1.0), epoch_steps=1.0)
        recipe = Recipe(**parts, steps=2, learning_rate=1e-3, seed=1)
        held = held_to(recipe, method, Discs(), sizes, CPU)
        assert (held is not recipe) == asked
    with pytest.raises(ValueError, match=r"loss_options\.shape_code"):
        UNetMethod(method="unet", loss_options={"shape_code": 4})
