"""The tables of VGG-16 and VGG-19, against facts known otherwise."""

import pytest

from jaxstyle.errors import InputError
from jaxstyle.network.layers import (
    architecture_of,
    block_of,
    check_tap,
    conv_names,
    conv_of,
    required_conv_names,
    resolve_tap,
    smallest_side,
    tap_names,
    torchvision_indices,
)


@pytest.mark.parametrize(("architecture", "count"), [("vgg16", 13), ("vgg19", 16)])
def test_as_many_convolutions_as_the_name_says_less_three_dense_layers(architecture, count) -> None:
    assert len(conv_names(architecture)) == count
    assert conv_names(architecture)[-1] == ("conv5_3" if architecture == "vgg16" else "conv5_4")
    assert conv_names(architecture) == sorted(conv_names(architecture))


def test_torchvisions_indices() -> None:
    """As print(torchvision.models.vgg19().features) and vgg16() list them."""
    found = torchvision_indices("vgg19")
    assert list(found.values()) == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert found["conv4_4"] == 25
    found = torchvision_indices("vgg16")
    assert list(found.values()) == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


def test_the_book_needs_no_layer_beyond_conv5_1() -> None:
    assert len(required_conv_names("vgg16")) == 11
    assert len(required_conv_names("vgg19")) == 13
    assert required_conv_names("vgg19")[-1] == "conv5_1"


def test_architecture_is_read_off_the_fourth_convolutions() -> None:
    for architecture in ("vgg16", "vgg19"):
        assert architecture_of(required_conv_names(architecture)) == architecture
    assert architecture_of(["conv1_1", "conv4_4"]) == "vgg19"
    assert architecture_of([]) == "vgg16"


@pytest.mark.parametrize(
    ("name", "vgg16", "vgg19"),
    [
        ("relu4_last", "relu4_3", "relu4_4"),
        ("conv1_last", "conv1_2", "conv1_2"),
        ("relu5_1", "relu5_1", "relu5_1"),
    ],
)
def test_names_are_resolved_by_architecture(name: str, vgg16: str, vgg19: str) -> None:
    assert resolve_tap(name, required_conv_names("vgg16")) == vgg16
    assert resolve_tap(name, required_conv_names("vgg19")) == vgg19


def test_a_layer_of_the_other_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"vgg16 up to conv5_1\) have no layer relu4_4"):
        resolve_tap("relu4_4", required_conv_names("vgg16"))


@pytest.mark.parametrize("name", ["relu6_1", "conv2_3", "pool1", "relu4", "RELU1_1", "conv3_5", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(InputError, match="unknown layer"):
        check_tap(name)


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(InputError, match=r"did you mean relu4_1\?"):
        check_tap("relu41")


def test_every_tap_has_a_block_and_a_convolution() -> None:
    """16 names of VGG-19's and 5 ending in last; conv and relu each."""
    assert len(tap_names()) == 2 * (16 + 5)
    assert [block_of(name) for name in ("conv1_2", "relu5_last")] == [1, 5]
    assert conv_of("relu3_4") == "conv3_4"
    with pytest.raises(InputError):
        block_of("pool3")


def test_smallest_side_doubles_with_every_pool() -> None:
    assert [smallest_side([f"relu{block}_1"]) for block in range(1, 6)] == [1, 2, 4, 8, 16]
    assert smallest_side(["relu1_1", "conv3_1", "relu2_2"]) == 4
