"""The networks of diffusion models: shapes, their start, sizes and wrong settings."""

import math

import pytest
import torch
from torch import Tensor, nn

from generators.algorithm.conditioning import Encoded
from generators.algorithm.contract import Shape
from generators.diffusion.base import hide_some
from generators.diffusion.denoiser import Denoiser, make_unet
from generators.diffusion.dit import DiT, grid_positions, time_waves
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import DDPMConfig, DenoiserConfig, norm_groups
from generators.specs.options import ConfigError, parse
from generators.specs.registry import parse_config

UNET = DenoiserConfig(base_channels=8)
PATCHED = DenoiserConfig(base_channels=8, patch=2, attention_side=8, channel_multipliers="1,2,2,2")
DIT = DenoiserConfig(backbone="dit", base_channels=16, residual_blocks=2)

every_network = pytest.mark.parametrize("config", [UNET, PATCHED, DIT], ids=["unet", "2", "dit"])


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def wake(network: nn.Module) -> None:
    """Give the layers that begin at zero some weights."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)


@every_network
@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 28, 28), (1, 12, 20), (1, 9, 17), (1, 31, 8), (3, 61, 33)]
)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_denoiser_begins_by_predicting_zeros_at_any_size(
    config: DenoiserConfig, shape: Shape, num_classes: int
) -> None:
    denoiser = Denoiser(config, shape, Conditions.of_classes(num_classes))

    with torch.inference_mode():
        times, labels = torch.tensor([0.5, -300.0]), torch.tensor([[0], [num_classes]])
        prediction = denoiser(torch.randn(2, *shape), times, labels)

    assert prediction.shape == (2, *shape)
    assert prediction.eq(0).all()


@every_network
def test_a_prediction_depends_on_every_input(config: DenoiserConfig) -> None:
    denoiser = Denoiser(config, (1, 9, 12), Conditions.of_classes(3)).eval()
    wake(denoiser)
    x, t, labels = torch.randn(2, 1, 9, 12), torch.tensor([10.0, 500.0]), torch.tensor([[0], [3]])

    with torch.inference_mode():
        prediction = denoiser(x, t, labels)
        others = [
            denoiser(x + 1, t, labels),
            denoiser(x, t + 0.5, labels),
            denoiser(x, t, labels - torch.tensor([[-1], [1]])),
        ]

    assert all((prediction - other).abs().amax(dim=(1, 2, 3)).min() > 1e-6 for other in others)


@every_network
def test_an_image_is_denoised_alone_as_it_is_among_others(config: DenoiserConfig) -> None:
    denoiser = Denoiser(config, (1, 12, 12), Conditions.of_classes(3)).eval()
    wake(denoiser)
    x, t, labels = torch.randn(3, 1, 12, 12), torch.tensor([1.0, 30, 900]), torch.arange(3)[:, None]

    with torch.inference_mode():
        together = denoiser(x, t, labels)
        alone = denoiser(x[1:2], t[1:2], labels[1:2])

    assert torch.allclose(together[1:2], alone, atol=1e-4)


def test_the_networks_have_the_papers_sizes() -> None:
    ddpm = parse_config("diffusion.ddpm", {}, preset="paper")
    assert isinstance(ddpm, DDPMConfig)
    with torch.device("meta"):
        unet = Denoiser(ddpm, (3, 32, 32), Conditions())
        dit = DiT((16, 16, 16), conditions=Conditions.of_classes(1000), width=384, depth=12)

    assert count(unet) == pytest.approx(35.7e6, rel=2e-3)  # Ho et al., 2020, appendix B
    assert count(dit) == pytest.approx(33e6, rel=0.01)  # Peebles and Xie, 2023, table 4 (DiT-S/2)


def test_the_unet_has_the_multiples_it_is_told_as_far_as_sides_can_be_halved() -> None:
    def widths(side: int) -> tuple[int, ...]:
        config = DenoiserConfig(base_channels=8, channel_multipliers="1,3,2,4")
        unet = Denoiser(config, (1, side, side), Conditions()).unet
        assert unet is not None
        return tuple(unet.config["block_out_channels"])

    assert widths(32) == (8, 24, 16, 32)
    assert widths(28) == (8, 24, 16)
    assert widths(8) == (8, 24)


@pytest.mark.parametrize(
    ("side", "where"), [(0, []), (4, [2]), (8, [1]), (15, [1]), (16, [0]), (64, [0])]
)
def test_the_unet_attends_at_the_first_resolution_that_is_small_enough(
    side: int, where: list[int]
) -> None:
    config = DenoiserConfig(base_channels=8, attention_side=side)
    unet = Denoiser(config, (1, 16, 16), Conditions()).unet
    assert unet is not None

    down = [i for i, block in enumerate(unet.down_blocks) if hasattr(block, "attentions")]
    up = [i for i, block in enumerate(unet.up_blocks[::-1]) if hasattr(block, "attentions")]

    assert down == up == where


# --- the transformer ----------------------------------------------------------------------------


def test_each_block_of_the_transformer_begins_as_the_identity() -> None:
    dit = DiT((4, 3, 5), conditions=Conditions.of_classes(2), width=16, depth=2)
    tokens, condition = torch.randn(2, 15, 16), torch.randn(2, 16)

    for block in dit.blocks:
        assert torch.equal(block(tokens, condition), tokens)


def test_every_weight_of_the_transformer_learns() -> None:
    dit = DiT((4, 3, 5), conditions=Conditions.of_classes(2), width=16, depth=2)
    wake(dit)

    prediction = dit(
        torch.randn(4, 4, 3, 5), torch.rand(4) * 1000, Encoded(torch.tensor([0, 1, 2, 2]))
    )
    prediction.square().sum().backward()

    assert all(p.grad is not None and p.grad.any() for p in dit.parameters())


def test_no_two_places_have_the_same_position_and_each_has_the_same_length() -> None:
    positions = grid_positions(7, 11, 32)

    assert positions.shape == (77, 32)
    assert torch.pdist(positions).min() > 0.1
    assert torch.allclose(positions.square().sum(dim=1), torch.tensor(16.0))
    with pytest.raises(ValueError, match="expected a width that is a multiple of 4, got 6"):
        grid_positions(2, 2, 6)


def test_the_waves_of_time_are_cosines_and_sines() -> None:
    waves = time_waves(torch.tensor([0.0, 500.0]))

    assert waves.shape == (2, 256)
    assert waves[0].tolist() == [1.0] * 128 + [0.0] * 128
    assert float(waves[1, 0]) == pytest.approx(math.cos(500), abs=1e-5)
    assert float(waves[1, 128 + 64]) == pytest.approx(math.sin(500 / 100), abs=1e-4)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        (
            {"channel_multipliers": "1,x"},
            "channel_multipliers",
            "expected numbers in 1..16 such as 1,2,2,2, got '1,x'",
        ),
        (
            {"channel_multipliers": "1,0"},
            "channel_multipliers",
            "expected numbers in 1..16 such as 1,2,2,2, got '1,0'",
        ),
        (
            {"backbone": "dit", "channel_multipliers": "1,2"},
            "channel_multipliers",
            "expected none: a transformer has one width",
        ),
        (
            {"backbone": "dit", "attention_side": 8},
            "attention_side",
            "expected 0: a transformer attends everywhere",
        ),
        (
            {"backbone": "dit", "base_channels": 6},
            "base_channels",
            "expected a multiple of 4: the width of a transformer",
        ),
    ],
)
def test_settings_that_make_no_network_are_refused(
    values: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(DDPMConfig, values)

    assert caught.value.errors == {field: message}


# --- labels -------------------------------------------------------------------------------------


def test_labels_are_hidden_one_by_one() -> None:
    labels = torch.arange(10).repeat(1000)[:, None]
    none = torch.tensor([10])

    def hidden(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return hide_some(labels, none=none, share=0.2, generator=generator)

    once = hidden(0)

    assert float((once == 10).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(once[once != 10], labels[once != 10])
    assert not torch.equal(once, hidden(1))
    assert hide_some(labels, none=none, share=0, generator=torch.Generator()) is labels


@pytest.mark.parametrize(
    ("narrowest", "least", "groups"),
    [
        (32, 1, 32),
        (48, 1, 16),
        (128, 1, 32),
        (8, 1, 8),
        (32, 4, 8),
        (16, 4, 4),
        (24, 4, 4),
        (8, 64, 1),
    ],
)
def test_channels_are_normalised_in_groups_of_at_least_so_many(
    narrowest: int, least: int, groups: int
) -> None:
    assert norm_groups(narrowest, least) == groups


@pytest.mark.parametrize("norm_channels", [1, 4])
def test_a_channel_that_is_normalised_alone_forgets_how_much_of_it_there_is(
    norm_channels: int,
) -> None:
    config = DenoiserConfig(base_channels=32, channel_multipliers="1", norm_channels=norm_channels)
    unet = make_unet(config, (1, 8, 8), Conditions())
    norm = next(each for each in unet.modules() if isinstance(each, nn.GroupNorm))
    x = torch.randn(1, 32, 8, 8)
    louder = x * torch.linspace(0.5, 2, 32)[None, :, None, None]

    assert torch.allclose(norm(x), norm(louder), atol=1e-4) is (norm_channels == 1)


@pytest.mark.parametrize("adaptive", [False, True])
def test_time_and_condition_are_heard_where_each_channel_is_normalised_alone(
    adaptive: bool,
) -> None:
    config = DenoiserConfig(base_channels=32, channel_multipliers="1", adaptive_norm=adaptive)
    denoiser = Denoiser(config, (1, 8, 8), Conditions.of_classes(3)).eval()
    wake(denoiser)
    x, times = torch.randn(1, 1, 8, 8).expand(3, -1, -1, -1), torch.tensor([10.0, 10.0, 900.0])

    with torch.inference_mode():
        first, other_class, other_time = denoiser(x, times, torch.tensor([[0], [1], [0]]))

    for other in (other_class, other_time):
        assert torch.allclose(first, other, atol=1e-4) is not adaptive  # what is added is undone
