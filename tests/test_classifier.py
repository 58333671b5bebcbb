"""The network that lite is taken from: what folding and scaling keep."""

import pytest
import torch
from conftest import picture
from torch import nn

from texturenet.classifier import Classifier, fold, normalise_activations, unfold
from texturenet.perceptual import load_encoder, random_encoder


@pytest.fixture
def classifier() -> Classifier:
    """One whose batch norms have seen pictures."""
    torch.manual_seed(0)
    classifier = Classifier(5)
    for norm in classifier.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
    with torch.no_grad():
        for seed in range(3):
            classifier(picture(32, 32, seed, batch=4))
    return classifier.eval()


def test_it_has_lites_chain_and_a_norm_after_each_convolution(classifier: Classifier) -> None:
    names = list(classifier.chain)
    assert tuple(name for name in names if not name.startswith("norm")) == random_encoder("lite").layers
    for i, name in enumerate(names):
        if name.startswith("conv"):
            assert isinstance(classifier.chain[names[i + 1]], nn.BatchNorm2d)
    assert classifier(picture(32, 48, batch=2)).shape == (2, 5)


def test_folding_is_exact(classifier: Classifier) -> None:
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    encoder = fold(classifier)
    image = picture(40, 56)
    with torch.no_grad():
        features = classifier.features(image)
        folded = encoder(image, ["relu5_1"])["relu5_1"]
    assert features.std() > 0.01
    assert torch.allclose(folded, features, rtol=1e-4, atol=1e-5)
    assert encoder.layers == random_encoder("lite").layers
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_unfolding_is_folding_backwards() -> None:
    encoder = load_encoder("lite")
    torch.manual_seed(0)
    begun, pictures = Classifier(5), picture(32, 32, 1, batch=4)
    unfold(begun, encoder, pictures)
    begun.eval()
    with torch.no_grad():
        expected = encoder(pictures, ["relu5_1"])["relu5_1"]
        assert torch.allclose(begun.features(pictures), expected, rtol=1e-3, atol=1e-3 * expected.max())
        assert torch.allclose(fold(begun)(pictures, ["relu5_1"])["relu5_1"], expected, atol=1e-3 * expected.max())
        lengths = begun.chain["conv4_2"].weight.flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.tensor(2.0).sqrt())


def test_activations_are_one_after_normalisation(classifier: Classifier) -> None:
    photos = [picture(40, 56, 1), picture(64, 48, 2)]
    encoder, plain = fold(classifier), fold(classifier)
    normalise_activations(encoder, photos)
    rectified = [layer for layer in encoder.layers if layer.startswith("relu")]
    found = [encoder(photo, rectified) for photo in photos]
    for layer in rectified:
        assert sum(features[layer].mean().item() for features in found) / 2 == pytest.approx(1, rel=1e-4)
    # It scales features and changes nothing else.
    before, after = (network(photos[0], ["relu4_2"])["relu4_2"] for network in (plain, encoder))
    assert torch.allclose(after / after.mean(), before / before.mean(), rtol=1e-3, atol=1e-4)


def test_a_layer_that_never_fires(classifier: Classifier) -> None:
    encoder = fold(classifier)
    with torch.no_grad():
        encoder.chain["conv3_2"].bias -= 1e6
    with pytest.raises(ValueError, match="conv3_2 never fires"):
        normalise_activations(encoder, [picture(32, 32)])
