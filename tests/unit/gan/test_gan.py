"""The networks are those of the paper's Tables 1 and 2."""

import pytest
import torch
from torch import nn

from cloudfree.gan import (
    Discriminator,
    Drib,
    DribGenerator,
    UnetGenerator,
    build_generator,
    init_weights,
)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def describe(block: nn.Module) -> str:
    """Write a block in the acronyms of Table 1, from its own layers in their order."""
    letters, numbers = "", ""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            letters += "C"
            numbers = f"({layer.out_channels},{layer.kernel_size[0]},{layer.stride[0]})"
        elif isinstance(layer, nn.BatchNorm2d):
            letters += "B"
        elif isinstance(layer, nn.Dropout):
            letters += "D"
        elif isinstance(layer, nn.LeakyReLU):
            letters += "L"
        elif isinstance(layer, nn.ReLU):
            letters += "R"
    return letters + numbers


def test_encoder_is_table_1() -> None:
    encoder = [describe(block) for block in DribGenerator(1, 3).encoder]
    assert encoder == ["CL(64,4,2)", "CBL(128,4,2)", "CBL(256,4,2)", "CBL(512,4,1)"]


def test_decoder_is_table_1() -> None:
    generator = DribGenerator(1, 3)
    decoder = [describe(block) for block in generator.decoder]
    assert decoder == ["CBDR(256,4,1)", "CBDR(128,4,2)", "CBR(64,4,2)"]
    assert describe(generator.last) == "C(3,4,2)"
    transposed = [layer for block in generator.decoder for layer in block.modules()]
    inputs = [
        layer.in_channels
        for layer in [*transposed, generator.last]
        if isinstance(layer, nn.ConvTranspose2d)
    ]
    assert inputs == [512, 256 + 256, 128 + 128, 64 + 64]


def test_discriminator_is_table_1() -> None:
    layers = [describe(block) for block in Discriminator(6, 3).layers]
    assert layers == [
        "CBL(64,4,2)", "CBL(128,4,2)", "CBL(256,4,2)", "CBL(512,4,2)", "C(1,3,1)",
    ]  # fmt: skip
    first = next(layer for layer in Discriminator(6, 3).modules() if isinstance(layer, nn.Conv2d))
    assert first.in_channels == 9


def test_drib_is_table_2() -> None:
    drib = Drib(512)
    for branch, dilation in zip(drib.branches, (1, 2, 3), strict=True):
        assert describe(branch) == "CBRCBR(256,3,1)"
        narrow, wide = (layer for layer in branch.modules() if isinstance(layer, nn.Conv2d))
        assert (narrow.out_channels, narrow.kernel_size, narrow.dilation) == (256, (1, 1), (1, 1))
        assert (wide.kernel_size, wide.dilation) == ((3, 3), (dilation, dilation))
    assert describe(drib.merge) == "CB(512,1,1)"
    assert sum(isinstance(block, Drib) for block in DribGenerator(1, 3).bottleneck) == 8


def test_drib_adds_its_input() -> None:
    drib = Drib(6).eval()
    nn.init.zeros_(drib.merge[1].weight)
    x = torch.randn(2, 6, 7, 9)
    assert torch.equal(drib(x), x)


def test_parameters_of_the_paper() -> None:
    assert count(DribGenerator(1, 3, 64)) == 26_650_307


def test_generator_halves_the_unet() -> None:
    unet = count(UnetGenerator(3, 3, 64))
    assert round(unet / 1e6, 1) == 54.4
    assert count(DribGenerator(3, 3, 64)) / unet == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("bands_in", "bands_out", "sides"), [(1, 3, (64, 104)), (6, 4, (16, 40))])
def test_generator_keeps_the_size_and_stays_in_range(
    bands_in: int, bands_out: int, sides: tuple[int, int]
) -> None:
    generator = build_generator("drib", bands_in=bands_in, bands_out=bands_out, width=4)
    nn.init.constant_(generator.last.bias, 30.0)
    picture = generator(torch.randn(2, bands_in, *sides))
    assert picture.shape == (2, bands_out, *sides)
    assert picture.dtype == torch.float32
    assert float(picture.detach().abs().max()) <= 1
    assert float(picture.detach().min()) > 0.9


def test_last_layer_is_fp32_under_autocast() -> None:
    generator = DribGenerator(1, 3, 4).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        picture = generator(torch.randn(1, 1, 32, 48))
    assert picture.dtype == torch.float32
    assert not torch.equal(picture, picture.bfloat16().float())


def test_unet_keeps_the_size() -> None:
    unet = build_generator("unet", bands_in=2, bands_out=3, width=4)
    assert unet(torch.randn(2, 2, 256, 256)).shape == (2, 3, 256, 256)


def test_discriminator_gives_patch_logits() -> None:
    discriminator = Discriminator(1, 3, width=4)
    logits = discriminator(torch.randn(2, 1, 256, 128), torch.randn(2, 3, 256, 128))
    assert logits.shape == (2, 1, 16, 8)


def test_unknown_network_is_named() -> None:
    with pytest.raises(ValueError, match="drib"):
        build_generator("resnet", bands_in=1, bands_out=3, width=4)  # type: ignore[arg-type]


def test_first_weights_are_normal_with_deviation_002() -> None:
    torch.manual_seed(3)
    generator = DribGenerator(1, 3, 16)
    init_weights(generator)
    weights = torch.cat(
        [
            layer.weight.detach().flatten()
            for layer in generator.modules()
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        ]
    )
    assert float(weights.std()) == pytest.approx(0.02, rel=0.01)
    assert float(weights.mean()) == pytest.approx(0, abs=1e-4)
    assert float((weights.abs() > 0.04).float().mean()) == pytest.approx(0.0455, abs=0.002)
    assert generator.last.bias is not None
    assert not generator.last.bias.any()
