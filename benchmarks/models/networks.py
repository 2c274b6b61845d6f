"""The generated models' networks in PyTorch: fast-neural-style, MobileNetV2, ResNet-18, EfficientNet-Lite0."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn


class PaddedConv(nn.Module):
    """Reflection padding, then a convolution; before both, nearest upsampling by a whole factor."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, upsample: int = 1) -> None:
        super().__init__()
        self.upsample = upsample
        self.pad = nn.ReflectionPad2d(kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h * upsample / stride, w * upsample / stride]."""
        if self.upsample > 1:
            x = nn.functional.interpolate(x, mode="nearest", scale_factor=self.upsample)
        return self.conv(self.pad(x))


class StyleResidual(nn.Module):
    """Two convolutions with instance normalisation, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv(channels, channels, 3)
        self.norm1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = PaddedConv(channels, channels, 3)
        self.norm2 = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(y)) + x


class FastNeuralStyle(nn.Module):
    """The style-transfer network of Johnson, Alahi and Fei-Fei (2016), as PyTorch's fast_neural_style example has it.

    Args:
        width: channels of the first convolution; the example has 32.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv(3, width, 9)
        self.norm1 = nn.InstanceNorm2d(width, affine=True)
        self.conv2 = PaddedConv(width, 2 * width, 3, stride=2)
        self.norm2 = nn.InstanceNorm2d(2 * width, affine=True)
        self.conv3 = PaddedConv(2 * width, 4 * width, 3, stride=2)
        self.norm3 = nn.InstanceNorm2d(4 * width, affine=True)
        self.residuals = nn.Sequential(*[StyleResidual(4 * width) for _ in range(5)])
        self.conv4 = PaddedConv(4 * width, 2 * width, 3, upsample=2)
        self.norm4 = nn.InstanceNorm2d(2 * width, affine=True)
        self.conv5 = PaddedConv(2 * width, width, 3, upsample=2)
        self.norm5 = nn.InstanceNorm2d(width, affine=True)
        self.conv6 = PaddedConv(width, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        """A picture [n, 3, h, w] to one of the same size (rounded up to a multiple of 4)."""
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)))
        x = torch.relu(self.norm3(self.conv3(x)))
        x = self.residuals(x)
        x = torch.relu(self.norm4(self.conv4(x)))
        x = torch.relu(self.norm5(self.conv5(x)))
        return self.conv6(x)


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def _conv_norm_same(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """TensorFlow's "same" padding of a size that the stride divides, the odd row and column at the end; its epsilon."""
    total = kernel - stride
    before, after = total // 2, total - total // 2
    pad = [nn.ZeroPad2d((before, after, before, after))] if before != after else []
    conv = nn.Conv2d(inputs, outputs, kernel, stride, 0 if pad else before, groups=groups, bias=False)
    return [*pad, conv, nn.BatchNorm2d(outputs, eps=1e-3)]


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, filter each channel, project; added to the input where shapes allow.

    Args:
        conv_norm: makes a convolution and its normalisation: of inputs, outputs, kernel, stride and groups.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, expansion: int, kernel: int = 3,
        conv_norm: Callable[..., list[nn.Module]] = _conv_norm,
    ) -> None:  # fmt: skip
        super().__init__()
        hidden = inputs * expansion
        expand = [*conv_norm(inputs, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*conv_norm(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, *conv_norm(hidden, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1 (Sandler et al. 2018, table 2)."""

    # Expansion, output channels, repeats, stride of the first.
    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        layers = [*_conv_norm(3, 32, 3, 2), nn.ReLU6()]
        channels = 32
        for expansion, outputs, repeats, stride in self.STAGES:
            for index in range(repeats):
                layers.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        self.features = nn.Sequential(*layers, *_conv_norm(channels, 1280, 1), nn.ReLU6())
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """A picture [n, 3, h, w] to 1000 class scores."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(pooled, 1))


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: EfficientNet-B0 (Tan and Le 2019, table 1) without squeeze-and-excitation, with ReLU6.

    Pictures have heights and widths that are multiples of 32.
    """

    # Expansion, output channels, repeats, stride of the first, kernel.
    STAGES = (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        layers = [*_conv_norm_same(3, 32, 3, 2), nn.ReLU6()]
        channels = 32
        for expansion, outputs, repeats, stride, kernel in self.STAGES:
            for index in range(repeats):
                first_stride = stride if index == 0 else 1
                layers.append(InvertedResidual(channels, outputs, first_stride, expansion, kernel, _conv_norm_same))
                channels = outputs
        self.features = nn.Sequential(*layers, *_conv_norm_same(channels, 1280, 1), nn.ReLU6())
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """A picture [n, 3, h, w] to 1000 class scores."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(pooled, 1))


class BasicBlock(nn.Module):
    """ResNet's block of two 3x3 convolutions; the input is projected where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv_norm(inputs, outputs, 3, stride), nn.ReLU(), *_conv_norm(outputs, outputs, 3)
        )
        projects = stride > 1 or inputs != outputs
        self.shortcut = nn.Sequential(*(_conv_norm(inputs, outputs, 1, stride) if projects else []))

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        return torch.relu(self.layers(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2015, table 1)."""

    def __init__(self) -> None:
        super().__init__()
        layers = [*_conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        channels = 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            layers += [BasicBlock(channels, outputs, stride), BasicBlock(outputs, outputs, 1)]
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """A picture [n, 3, h, w] to 1000 class scores."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(pooled, 1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "fast_neural_style_16": functools.partial(FastNeuralStyle, 16),
    "fast_neural_style_32": functools.partial(FastNeuralStyle, 32),
    "mobilenet_v2": MobileNetV2,
    "resnet18": ResNet18,
    "efficientnet_lite0": EfficientNetLite0,
}
