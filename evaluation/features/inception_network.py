"""The Inception v3 of 2015-12-05, arranged for speed: the values are those of its definition.

Layers and their names are those of the published PyTorch file, which was converted from the
TensorFlow graph: Szegedy et al., 2016, "Rethinking the Inception architecture for computer vision",
with that graph's two deviations (averages do not count the padding; the last block takes a maximum).

What is done for speed, each to rounding: batch normalisation is folded into the convolution before
it (in float64); a 1x1 convolution comes before the average pooling it follows in the graph, both
being linear; a ReLU comes after the maximum it precedes, both being monotone; the memory layout is
channels last.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 299
CLASSES = 1008


class Convolution(nn.Module):
    """A convolution with the batch normalisation behind it folded in, and its ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        same: bool = True,  # pad so that the size stays (divided by no stride)
    ) -> None:
        """Build both layers as the weights file has them."""
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.padding = (height // 2, width // 2) if same else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, self.padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=0.001)

    def fold(self) -> None:
        """Replace W and the normalisation by W·γ/σ and the bias β − μ·γ/σ, rounded once."""
        assert isinstance(self.bn, nn.BatchNorm2d), "a convolution is folded once"
        state = {name: value.double() for name, value in self.bn.state_dict().items()}
        scale = state["weight"] / (state["running_var"] + self.bn.eps).sqrt()
        weight = self.conv.weight.double() * scale.view(-1, 1, 1, 1)
        bias = state["bias"] - state["running_mean"] * scale
        self.conv.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.conv.bias = nn.Parameter(bias.float(), requires_grad=False)
        self.bn = nn.Identity()

    def linear(self, x: Tensor) -> Tensor:
        """Return the convolution without its ReLU."""
        if _has_onednn(x):
            # Asked for by name: of few images on one core conv2d makes something slower.
            return torch.mkldnn_convolution(
                x, self.conv.weight, self.conv.bias, self.padding, self.conv.stride, (1, 1), 1
            )
        y: Tensor = self.conv(x)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution after its ReLU."""
        return self.linear(x).relu_()


def _has_onednn(x: Tensor) -> bool:
    on_cpu = x.device.type == "cpu" and torch.backends.mkldnn.is_available()
    return on_cpu and not torch.compiler.is_compiling()


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 2)


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35: 1x1, 5x5, two 3x3, and pooling."""

    def __init__(self, inputs: int, pooled: int) -> None:
        """Build the branches; ``pooled`` is the width of the last."""
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64)
        self.branch5x5_1 = Convolution(inputs, 48)
        self.branch5x5_2 = Convolution(48, 64, 5)
        self.branch3x3dbl_1 = Convolution(inputs, 64)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3)
        self.branch_pool = Convolution(inputs, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches side by side."""
        branches = [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            _average(self.branch_pool.linear(x)).relu_(),
        ]
        return torch.cat(branches, 1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, inputs: int) -> None:
        """Build the branches."""
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1 = Convolution(inputs, 64)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches side by side."""
        branches = [
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            _maximum(x),
        ]
        return torch.cat(branches, 1)


class BlockC(nn.Module):
    """17x17: 7x7 convolutions as pairs of 1x7 and 7x1."""

    def __init__(self, inputs: int, width: int) -> None:
        """Build the branches; ``width`` is that of the inner convolutions."""
        super().__init__()
        self.branch1x1 = Convolution(inputs, 192)
        self.branch7x7_1 = Convolution(inputs, width)
        self.branch7x7_2 = Convolution(width, width, (1, 7))
        self.branch7x7_3 = Convolution(width, 192, (7, 1))
        self.branch7x7dbl_1 = Convolution(inputs, width)
        self.branch7x7dbl_2 = Convolution(width, width, (7, 1))
        self.branch7x7dbl_3 = Convolution(width, width, (1, 7))
        self.branch7x7dbl_4 = Convolution(width, width, (7, 1))
        self.branch7x7dbl_5 = Convolution(width, 192, (1, 7))
        self.branch_pool = Convolution(inputs, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches side by side."""
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = [
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            _average(self.branch_pool.linear(x)).relu_(),
        ]
        return torch.cat(branches, 1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, inputs: int) -> None:
        """Build the branches."""
        super().__init__()
        self.branch3x3_1 = Convolution(inputs, 192)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1 = Convolution(inputs, 192)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches side by side."""
        wide = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        branches = [
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(wide),
            _maximum(x),
        ]
        return torch.cat(branches, 1)


class BlockE(nn.Module):
    """8x8: 3x3 convolutions that end side by side as 1x3 and 3x1."""

    def __init__(self, inputs: int, *, last: bool = False) -> None:
        """Build the branches; the ``last`` block of the network pools by the maximum."""
        super().__init__()
        self.last = last
        self.branch1x1 = Convolution(inputs, 320)
        self.branch3x3_1 = Convolution(inputs, 384)
        self.branch3x3_2a = Convolution(384, 384, (1, 3))
        self.branch3x3_2b = Convolution(384, 384, (3, 1))
        self.branch3x3dbl_1 = Convolution(inputs, 448)
        self.branch3x3dbl_2 = Convolution(448, 384, 3)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1))
        self.branch_pool = Convolution(inputs, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches side by side."""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        if self.last:
            pooled = self.branch_pool(functional.max_pool2d(x, 3, 1, 1))
        else:
            pooled = _average(self.branch_pool.linear(x)).relu_()
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            pooled,
        ]
        return torch.cat(branches, 1)


class InceptionNetwork(nn.Module):
    """Features (N, 2048) after the last pooling and logits (N, 1008) without their bias."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """Build the network from the tensors of a weights file in the published layout.

        Raises:
            RuntimeError: if tensors are missing, of another shape, or too many.
        """
        super().__init__()
        with torch.device("meta"):  # no memory and no random numbers for values never used
            self._build()
        self.load_state_dict(dict(state), assign=True)
        for module in self.modules():
            if isinstance(module, Convolution):
                module.fold()
        self.float().to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def _build(self) -> None:
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, same=False)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280)
        self.Mixed_7c = BlockE(2048, last=True)
        self.fc = nn.Linear(2048, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits of images (N, 3, 299, 299), float32 in -1..1."""
        x = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))  # (N, 32, 147, 147)
        x = _maximum(self.Conv2d_2b_3x3.linear(x)).relu_()  # (N, 64, 73, 73)
        x = self.Conv2d_3b_1x1(x)
        x = _maximum(self.Conv2d_4a_3x3.linear(x)).relu_()  # (N, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (N, 288, 35, 35)
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # (N, 768, 17, 17)
        x = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (N, 2048, 8, 8)
        features = x.mean((2, 3))
        return features, features @ self.fc.weight.T
