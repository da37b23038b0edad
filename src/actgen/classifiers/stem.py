"""The first layers of a residual network, made for small images."""

from __future__ import annotations

from torch import nn

from ..core.errors import UserError

STEMS = ("published", "cifar")


def shrink_stem(model: nn.Module, name: str) -> None:
    """Replace the stem of a timm ResNet by one 3x3 convolution of stride 1 and no pooling (He et al. 2016, section 4.2).

    The published stem halves the image twice: of 32 pixels only 1 would be left after the last stage, of this stem 4.
    """
    from timm.models.resnet import ResNet

    if not isinstance(model, ResNet) or not isinstance(model.conv1, nn.Conv2d):
        raise UserError(
            f'model.stem = "cifar" is for timm\'s ResNets with a plain stem (resnet18, resnet50), not {name}. '
            'Use model.stem = "published".'
        )
    model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
