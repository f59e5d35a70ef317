"""Units: the reference's counts, a partition of every model, and who belongs to whom."""

from functools import cache

import pytest
import timm
import torch
import torchvision
from torch import nn

from revo_ray.errors import UserError
from revo_ray.finetune.network.units import GRANULARITIES, Unit, find_units

# Parameter tensors, then units at layer, block and stage granularity.
EXPECTED = {
    "torchvision/resnet18": (62, 21, 8 + 2, 6),
    "torchvision/resnet50": (161, 54, 16 + 2, 6),
    "torchvision/convnext_tiny": (182, 59, 18 + 5, 9),
    "torchvision/efficientnet_b0": (213, 82, 16 + 3, 10),
    "torchvision/mobilenet_v3_large": (174, 64, 15 + 4, 18),
    "torchvision/mobilenet_v2": (158, 53, 17 + 3, 20),
    "torchvision/shufflenet_v2_x1_0": (170, 57, 16 + 3, 6),
}
MODELS = [
    *EXPECTED,
    "torchvision/densenet121",
    "torchvision/swin_v2_t",
    "torchvision/vgg11_bn",
    "torchvision/vit_b_16",
    "timm/convnext_atto",
    "timm/convnext_tiny",
    "timm/efficientnet_b0",
    "timm/mixer_s32_224",
    "timm/mobilenetv3_large_100",
    "timm/regnetx_002",
    "timm/resnet18",
    "timm/tf_efficientnet_lite0",
    "timm/vit_tiny_patch16_224",
]
OFTEN = {
    "torchvision/resnet18",
    "torchvision/densenet121",
    "torchvision/vit_b_16",
    "timm/convnext_atto",
    "timm/regnetx_002",
    "timm/tf_efficientnet_lite0",
}
each_model = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.nightly) for name in MODELS],
)
"""All but those in `OFTEN` are nightly."""


@cache
def build(name: str) -> nn.Module:
    library, _, model = name.partition("/")
    with torch.device("meta"):
        if library == "timm":
            return timm.create_model(model)
        return torchvision.models.get_model(model)


def unit_of(units: list[Unit], parameter: str) -> Unit:
    return next(unit for unit in units if parameter in unit.parameters)


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", EXPECTED)
def test_counts_are_the_reference_ones(name: str) -> None:
    model = build(name)
    counts = tuple(len(find_units(model, granularity)) for granularity in GRANULARITIES)
    assert (len(list(model.parameters())), *counts) == EXPECTED[name]


def test_the_package_weights_model_has_fifty_layers() -> None:
    assert len(find_units(build("timm/tf_efficientnet_lite0"))) == 50


@pytest.mark.parametrize("name", ["torchvision/vit_b_16", "timm/vit_tiny_patch16_224"])
def test_a_transformer_has_one_block_and_one_stage_per_encoder_block(name: str) -> None:
    # Stem, twelve encoder blocks, head.
    assert len(find_units(build(name), "block")) == 14
    assert len(find_units(build(name), "stage")) == 14


@pytest.mark.parametrize(("name", "blocks"), [("timm/regnetx_002", 13), ("timm/mixer_s32_224", 8)])
def test_blocks_are_found_as_attributes_and_with_repeated_parts(name: str, blocks: int) -> None:
    # RegNet's stages hold their blocks outside a container; a Mixer block holds two MLPs.
    units = find_units(build(name), "block")
    assert len(units) == blocks + 2


@pytest.mark.sample(6)
@pytest.mark.parametrize("granularity", GRANULARITIES)
@each_model
def test_units_are_an_ordered_partition(name: str, granularity: str) -> None:
    model = build(name)
    units = find_units(model, granularity)
    named = dict(model.named_modules())

    parameters = [parameter for unit in units for parameter in unit.parameters]
    assert sorted(parameters) == sorted(dict(model.named_parameters()))

    modules = [module for unit in units for module in unit.modules]
    assert len(modules) == len(set(modules))
    norms = {n for n, m in named.items() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    weights = [n for n, m in named.items() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert norms | set(weights) <= set(modules)
    for unit in units:
        # A norm freezes in the unit that holds its parameters.
        for module in norms & set(unit.modules):
            assert f"{module}.weight" in unit.parameters
        # Setting one unit's modules to eval leaves those of all others alone.
        inside = {f"{m}.{n}".rstrip(".") for m in unit.modules for n, _ in _named(named[m])}
        assert not inside & (set(modules) - set(unit.modules))

    assert len({unit.name for unit in units}) == len(units)

    assert [unit.head for unit in units] == [False] * (len(units) - 1) + [True]
    assert units[-1].name == weights[-1]
    assert [module for module in units[-1].modules if module in weights] == [weights[-1]]


def _named(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(module.named_modules())


@pytest.mark.sample(2)
@pytest.mark.slow
@each_model
def test_a_coarser_granularity_is_a_union_of_the_finer(name: str) -> None:
    layers, blocks, stages = (find_units(build(name), g) for g in GRANULARITIES)
    for fine, coarse in ((layers, blocks), (blocks, stages)):
        for unit in fine:
            holders = [c for c in coarse if set(unit.parameters) & set(c.parameters)]
            assert len(holders) == 1
            assert set(unit.parameters) <= set(holders[0].parameters)
            assert set(unit.modules) <= set(holders[0].modules)


@pytest.mark.sample(10)
@pytest.mark.parametrize(
    ("name", "parameter", "unit"),
    [
        # A norm follows its convolution, also in a shortcut and inside a wrapper.
        ("torchvision/resnet18", "bn1.weight", "conv1"),
        ("torchvision/resnet18", "layer2.0.bn2.bias", "layer2.0.conv2"),
        ("torchvision/resnet18", "layer2.0.downsample.1.weight", "layer2.0.downsample.0"),
        ("timm/tf_efficientnet_lite0", "bn2.weight", "conv_head"),
        ("torchvision/mobilenet_v2", "features.2.conv.3.weight", "features.2.conv.2"),
        # A block's own parameters go to the last weight inside.
        ("torchvision/convnext_tiny", "features.1.0.layer_scale", "features.1.0.block.5"),
        ("timm/convnext_atto", "stages.0.blocks.0.gamma", "stages.0.blocks.0.mlp.fc2"),
        (
            "torchvision/vit_b_16",
            "encoder.layers.encoder_layer_3.self_attention.in_proj_weight",
            "encoder.layers.encoder_layer_3.self_attention.out_proj",
        ),
        # Tokens and positions go to the first unit, wherever they are registered.
        ("torchvision/vit_b_16", "class_token", "conv_proj"),
        ("torchvision/vit_b_16", "encoder.pos_embedding", "conv_proj"),
        ("timm/vit_tiny_patch16_224", "cls_token", "patch_embed.proj"),
        ("timm/vit_tiny_patch16_224", "pos_embed", "patch_embed.proj"),
        # A norm without a layer before it acts on the input of the next one.
        ("torchvision/convnext_tiny", "features.2.0.weight", "features.2.1"),
        # The classifier stands alone, and the norm before it closes the body.
        ("torchvision/convnext_tiny", "classifier.0.weight", "features.7.2.block.5"),
        ("timm/vit_tiny_patch16_224", "norm.weight", "blocks.11.mlp.fc2"),
        ("timm/convnext_atto", "head.norm.bias", "stages.3.blocks.1.mlp.fc2"),
        # A loose parameter goes with the layer that runs before it in its own module.
        ("timm/beitv2_base_patch16_224", "blocks.1.attn.q_bias", "blocks.1.attn.qkv"),
        ("timm/beitv2_base_patch16_224", "blocks.1.attn.v_bias", "blocks.1.attn.qkv"),
        ("timm/beitv2_base_patch16_224", "blocks.1.gamma_1", "blocks.1.attn.proj"),
        ("timm/beitv2_base_patch16_224", "blocks.1.gamma_2", "blocks.1.mlp.fc2"),
        (
            "timm/beitv2_base_patch16_224",
            "blocks.1.attn.relative_position_bias_table",
            "blocks.1.attn.qkv",
        ),
        ("timm/eva02_tiny_patch14_224", "blocks.1.attn.q_bias", "blocks.1.attn.qkv"),
        ("timm/cait_xxs24_224", "cls_token", "blocks.23.mlp.fc2"),
        # A norm of the input of two parallel convolutions comes before the first of them.
        ("timm/test_byobnet", "stages.1.0.conv1_1x1.bn.weight", "stages.1.0.conv1_1x1.conv"),
        ("timm/vit_tiny_patch16_224", "blocks.5.norm1.weight", "blocks.5.attn.qkv"),
        ("timm/vit_tiny_patch16_224", "blocks.5.norm2.weight", "blocks.5.mlp.fc1"),
        (
            "torchvision/vit_b_16",
            "encoder.layers.encoder_layer_3.ln_2.weight",
            "encoder.layers.encoder_layer_3.mlp.0",
        ),
        # A trailing norm stays in the part of the network that it closes.
        (
            "torchvision/densenet121",
            "features.norm5.weight",
            "features.denseblock4.denselayer16.conv2",
        ),
        ("torchvision/vit_b_16", "encoder.ln.weight", "encoder.layers.encoder_layer_11.mlp.3"),
    ],
)
def test_loose_parameters_and_norms_are_placed(name: str, parameter: str, unit: str) -> None:
    assert unit_of(find_units(build(name)), parameter).name == unit


def test_stages_are_named_as_in_the_model_and_leave_the_head_alone() -> None:
    resnet = [unit.name for unit in find_units(build("torchvision/resnet18"), "stage")]
    assert resnet == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    # The classifier's first linear layer is pretrained: it is no part of the new head.
    stages = find_units(build("torchvision/mobilenet_v3_large"), "stage")
    assert unit_of(stages, "classifier.0.weight").name == "features.16"
    assert unit_of(stages, "classifier.3.weight").parameters == (
        "classifier.3.weight",
        "classifier.3.bias",
    )


def test_the_head_may_be_named_and_need_not_come_last() -> None:
    model = build("timm/resnet18")
    assert [u.name for u in find_units(model, "block", head="fc") if u.head] == ["fc"]
    convnext = build("timm/convnext_atto")
    (head,) = [unit for unit in find_units(convnext, head="head") if unit.head]
    assert set(head.parameters) == {
        n for n, _ in convnext.get_submodule("head").named_parameters("head")
    }
    first = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1))
    assert [unit.head for unit in find_units(first, head="0")] == [True, False]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_eval_on_a_frozen_unit_keeps_its_statistics_and_only_those(granularity: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=2)
    units = find_units(model, granularity)
    frozen = units[len(units) // 2]
    model.train()
    for module in frozen.modules:
        model.get_submodule(module).eval()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(2, 3, 32, 32))
    for name, buffer in model.named_buffers():
        owner = name.rpartition(".")[0]
        assert torch.equal(buffer, before[name]) == (owner in frozen.modules)


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(UserError, match="layers"):
        find_units(nn.Linear(2, 2), "layers")
    with pytest.raises(UserError, match="no convolution or linear layer"):
        find_units(nn.Sequential(nn.BatchNorm2d(3)))
    with pytest.raises(UserError, match="nowhere"):
        find_units(nn.Sequential(nn.Conv2d(3, 2, 1)), head="nowhere")
    with pytest.raises(UserError, match="takes no images"):
        find_units(nn.Sequential(nn.Linear(2, 2)))
    tied = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False))
    tied[1].weight = tied[0].weight
    with pytest.raises(UserError, match="shared"):
        find_units(tied)
