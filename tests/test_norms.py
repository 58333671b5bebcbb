import threading

import torch
from conftest import picture
from torch import nn

from texturenet.generators import Pyramid, Residual, make_noise
from texturenet.norms import Statistics, given_statistics, measure


def test_own_statistics_are_instance_norm() -> None:
    for net in (Pyramid(scales=3, width=4), Residual(width=4, blocks=1)):
        net.requires_grad_(False)
        photo, noise = picture(32, 40), make_noise(net, 1, 32, 40, seed=0)
        with given_statistics(lambda _, measured: measured):
            given = net(photo, noise)
        torch.testing.assert_close(given, net(photo, noise), rtol=0, atol=1e-5)


def test_known_statistics() -> None:
    norm = nn.InstanceNorm2d(1, eps=0)
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    mean, variance = measure(x)
    assert (mean, variance) == (torch.tensor([3.0]), torch.tensor([3.5]))
    with given_statistics(lambda _, __: (torch.tensor([1.0]), torch.tensor([4.0]))):
        assert torch.equal(norm(x), (x - 1) / 2)


def test_norms_are_counted_in_the_order_of_the_pass() -> None:
    net = nn.Sequential(nn.InstanceNorm2d(2, affine=True), nn.ReLU(), nn.InstanceNorm2d(2)).requires_grad_(False)
    seen = []

    def choose(place: int, measured: Statistics) -> Statistics:
        seen.append((place, len(measured[0])))
        return measured

    with given_statistics(choose):
        net(picture(8, 9)[:, :2])
    assert seen == [(0, 2), (1, 2)]


def test_other_threads_see_nothing_of_it() -> None:
    norm, x = nn.InstanceNorm2d(3), picture(8, 8)
    alone = norm(x)
    found = []
    with given_statistics(lambda _, __: (torch.zeros(3), torch.ones(3))):
        thread = threading.Thread(target=lambda: found.append(norm(x)))
        thread.start()
        thread.join()
        assert not torch.equal(norm(x), alone)
    assert torch.equal(found[0], alone)
