"""LoRA files in every naming: what is applied is counted by tensors, and it acts as the formula says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from actgen.core.errors import UserError
from actgen.diffusion.embeddings import load_embeddings
from actgen.diffusion.folder_parts import load_options
from actgen.diffusion.loading import Loading, load_pipeline
from actgen.diffusion.lora import find_lora, load_lora
from actgen.diffusion.lora_file import place, read_lora
from actgen.diffusion.pipeline import PipelineAdapter
from tests.support.families import FAMILIES, save

UNET = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "down_blocks.0.resnets.0.conv1"
TEXT = "encoder.layers.0.self_attn.q_proj"


def networks(pipeline: object) -> dict[str, nn.Module]:
    return {name: getattr(pipeline, name) for name in ("unet", "text_encoder")}


def text_path(network: nn.Module) -> str:
    """Return the path of a text encoder's layer; versions of transformers differ in whether `text_model` is a part of it."""
    return str(next(path for path, _ in network.named_modules() if path.endswith(TEXT)))


def matrices(module: nn.Module, rank: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return (A, B) for a layer."""
    rng, weight = torch.Generator().manual_seed(seed), module.get_parameter("weight")
    tail = weight.shape[2:]
    down = torch.randn((rank, weight.shape[1], *tail), generator=rng)
    return down, torch.randn((weight.shape[0], rank, *(1 for _ in tail)), generator=rng)


Named = Callable[[str, Tensor, Tensor], dict[str, Tensor]]


def kohya(path: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    name = "lora_" + path.replace("text_encoder", "te").replace(".", "_")
    return {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(float(len(down)))}


def diffusers(path: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    return {f"{path}.lora.down.weight": down, f"{path}.lora.up.weight": up}


def processors(path: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    above, _, last = path.rpartition(".")
    if not last.startswith("to_"):
        return diffusers(path, down, up)
    return {f"{above}.processor.{last}_lora.down.weight": down, f"{above}.processor.{last}_lora.up.weight": up}


def linear_layers(path: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    return {f"{path}.lora_linear_layer.down.weight": down, f"{path}.lora_linear_layer.up.weight": up}


def peft(path: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    return {f"{path}.lora_A.weight": down, f"{path}.lora_B.default.weight": up}


@pytest.fixture
def pipeline() -> object:
    return FAMILIES["sd1"]()


@pytest.mark.parametrize("naming", [kohya, diffusers, processors, linear_layers, peft])
def test_every_naming_is_applied_whole(pipeline: object, tmp_path: Path, naming: Named) -> None:
    parts, tensors = networks(pipeline), dict[str, Tensor]()
    paths = {f"unet.{UNET}": UNET, f"unet.{CONV}": CONV, f"text_encoder.{text_path(parts['text_encoder'])}": ""}
    before = {}
    for path in paths:
        name, _, inside = path.partition(".")
        module = parts[name].get_submodule(inside)
        before[path] = (module.get_parameter("weight").detach().clone(), matrices(module))
        tensors |= naming(path, *before[path][1])
    save_file(tensors, tmp_path / "lora.safetensors")
    assert load_lora(parts, str(tmp_path / "lora.safetensors")) == len(tensors)
    for path, (weight, (down, up)) in before.items():
        name, _, inside = path.partition(".")
        layer = parts[name].get_submodule(inside)
        getattr(layer, "merge")()  # noqa: B009
        change = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        torch.testing.assert_close(
            layer.get_submodule("base_layer").get_parameter("weight"), weight + change, atol=1e-5, rtol=1e-4
        )


def test_alpha_and_ranks_of_their_own_scale_each_layer(pipeline: object, tmp_path: Path) -> None:
    parts = networks(pipeline)
    other = UNET.replace("to_q", "to_k")
    one, two = (matrices(parts["unet"].get_submodule(path), rank=rank) for path, rank in ((UNET, 2), (other, 3)))
    tensors = kohya(f"unet.{UNET}", *one) | kohya(f"unet.{other}", *two)
    tensors[f"lora_unet_{UNET.replace('.', '_')}.alpha"] = torch.tensor(1.0)
    save_file(tensors, tmp_path / "lora.safetensors")
    load_lora(parts, str(tmp_path))
    scalings = [parts["unet"].get_submodule(path).scaling["default_0"] for path in (UNET, other)]  # type: ignore[index]
    assert scalings == [0.5, 1.0]


def test_dora_scales_to_its_magnitude(pipeline: object, tmp_path: Path) -> None:
    parts = networks(pipeline)
    layer = parts["unet"].get_submodule(UNET)
    weight, (down, up) = layer.get_parameter("weight").detach().clone(), matrices(layer)
    magnitude = torch.rand(len(weight), 1) + 0.5
    tensors = {**kohya(f"unet.{UNET}", down, up), f"lora_unet_{UNET.replace('.', '_')}.dora_scale": magnitude}
    save_file(tensors, tmp_path / "dora.safetensors")
    x = torch.randn(3, weight.shape[1])
    plain = layer(x)
    assert load_lora(parts, str(tmp_path)) == 4
    whole = weight + up @ down
    expected = x @ (magnitude * whole / whole.norm(dim=1, keepdim=True)).T
    bias = plain - x @ weight.T
    torch.testing.assert_close(parts["unet"].get_submodule(UNET)(x), expected + bias, atol=1e-4, rtol=1e-4)


def test_it_equals_what_diffusers_loads(tmp_path: Path) -> None:
    ours, theirs = FAMILIES["sd1"](), FAMILIES["sd1"]()
    down, up = matrices(ours.unet.get_submodule(UNET))
    save_file(diffusers(f"unet.{UNET}", down, up), tmp_path / "pytorch_lora_weights.safetensors")
    load_lora(networks(ours), str(tmp_path))
    theirs.load_lora_weights(str(tmp_path))
    expected, found = theirs.unet.state_dict(), ours.unet.state_dict()
    assert expected.keys() == found.keys()
    lora = [name for name in found if "lora" in name]
    assert len(lora) == 2
    assert all(torch.equal(found[name], expected[name]) for name in lora)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["lora_unet_down_blocks_9_attn_to_q.lora_down.weight"], "the generator's unet has no such layer"),
        (["lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"], "it has no text_encoder_2"),
        (["lora_unet_x.hada_w1_a"], "it is of LoHa, which is not read"),
        (["unet.something"], "it is no tensor of a LoRA layer"),
        ([f"unet.{UNET}.lora_A.weight"], "its layer lacks the other matrix"),
    ],
)
def test_what_does_not_fit_is_named(pipeline: object, tmp_path: Path, names: list[str], words: str) -> None:
    parts = networks(pipeline)
    good = diffusers(f"unet.{CONV}", *matrices(parts["unet"].get_submodule(CONV)))
    save_file({**good, **{name: torch.zeros(2, 2) for name in names}}, tmp_path / "lora.safetensors")
    with pytest.raises(UserError, match=r"of its 3 tensors, this generator has layers for 2") as caught:
        load_lora(parts, str(tmp_path))
    assert f"{names[0]} ({words}" in str(caught.value)


def test_matrices_of_other_sizes(pipeline: object, tmp_path: Path) -> None:
    save_file(diffusers(f"unet.{UNET}", torch.zeros(2, 7), torch.zeros(9, 2)), tmp_path / "lora.safetensors")
    with pytest.raises(UserError, match="its matrices have other sizes"):
        load_lora(networks(pipeline), str(tmp_path))


def test_where_lora_files_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file or folder"):
        find_lora(str(tmp_path / "nowhere.safetensors"))
    with pytest.raises(UserError, match=r"it holds no \.safetensors file"):
        find_lora(str(tmp_path))
    (tmp_path / "pytorch_lora_weights.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="format that can run code"):
        find_lora(str(tmp_path))
    for name in ("a", "b", "c", "d"):
        save_file({"x": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match=r"holds 4 files: a\.safetensors, b\.safetensors"):
        find_lora(str(tmp_path))
    assert find_lora(str(tmp_path / "b.safetensors")).name == "b.safetensors"


_PARTS = st.sampled_from(
    [f"unet.{UNET}", f"unet.{CONV}", "unet.no.such", "text_encoder.x", "text_encoder_2.y", "lora_unet_a_b", "q"]
)
_ENDS = st.sampled_from(
    [
        ".lora_A.weight",
        ".lora_B.weight",
        ".lora.down.weight",
        ".lora_up.weight",
        ".alpha",
        ".dora_scale",
        ".hada_w1_a",
        ".bias",
        "",
    ]
)


@given(names=st.sets(st.builds(str.__add__, _PARTS, _ENDS), max_size=12), rank=st.integers(1, 3))
def test_applied_and_named_tensors_are_all(names: set[str], rank: int) -> None:
    network = nn.ModuleDict({"a": nn.Linear(3, 4)})
    inner = nn.Sequential(network)
    tensors = {name: torch.zeros(rank, rank) for name in names}
    found = place(tensors, {"unet": _Named(UNET, CONV), "text_encoder": inner})
    placed = [name for layer in found.layers.values() for name in layer.names]
    assert sorted([*placed, *found.left]) == sorted(names)
    assert found.placed == len(placed)
    assert all(found.left.values())


class _Named(nn.Module):
    """A network with linear layers at these paths."""

    def __init__(self, *paths: str) -> None:
        super().__init__()
        for path in paths:
            module: nn.Module = self
            *above, last = path.split(".")
            for name in above:
                if not hasattr(module, name):
                    module.add_module(name, nn.Module())
                module = module.get_submodule(name)
            module.add_module(last, nn.Linear(2, 2))


# generators as people have them


def test_a_folder_of_half_precision_files_only(tmp_path: Path) -> None:
    save(FAMILIES["sd1"](), tmp_path)
    for path in sorted(tmp_path.rglob("*.safetensors")):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    assert load_options(tmp_path)["variant"] == "fp16"
    assert PipelineAdapter.from_pretrained(str(tmp_path)).image_size > 0


def test_an_optional_part_that_is_listed_and_gone(tmp_path: Path) -> None:
    import json

    save(FAMILIES["sd1"](), tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert PipelineAdapter.from_pretrained(str(tmp_path)).pipeline.safety_checker is None
    (tmp_path / "vae").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"vae/ is listed in model_index\.json and is not there"):
        load_options(tmp_path)


def test_learnt_words(tmp_path: Path) -> None:
    save(FAMILIES["sd1"](), tmp_path / "generator")
    width = FAMILIES["sd1"]().text_encoder.config.hidden_size
    save_file({"<my-cat>": torch.full((width,), 0.5)}, tmp_path / "cat.safetensors")
    save_file({"emb_params": torch.full((1, width), 0.25)}, tmp_path / "my-dog.safetensors")
    words = tuple(str(tmp_path / name) for name in ("cat.safetensors", "my-dog.safetensors"))
    pipeline = load_pipeline(str(tmp_path / "generator"), "cpu", Loading(embeddings=words))
    for word, value in (("<my-cat>", 0.5), ("my-dog", 0.25)):
        row = pipeline.text_encoder.get_input_embeddings().weight[pipeline.tokenizer.convert_tokens_to_ids(word)]
        assert row.unique().tolist() == [value]
    save_file({"<x>": torch.zeros(width + 1)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"x\.safetensors.* cannot be loaded"):
        load_embeddings(pipeline, str(tmp_path / "x.safetensors"))
    with pytest.raises(UserError, match="there is no file"):
        load_embeddings(pipeline, "nowhere.safetensors")


def test_a_checkpoint_in_one_file_is_opened_or_told_what_it_needs(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"loading\.config=FOLDER_OR_ID"):
        load_pipeline(str(tmp_path / "model.safetensors"), "cpu", Loading(config=str(tmp_path)))
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(UserError, match="format that can run code"):
        load_pipeline(str(tmp_path / "model.ckpt"), "cpu", Loading())


def test_metadata_of_diffusers_and_of_peft_say_the_scaling(pipeline: object, tmp_path: Path) -> None:
    import json

    parts = networks(pipeline)
    tensors = peft(UNET, *matrices(parts["unet"].get_submodule(UNET)))
    said = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 6, "unet.r": 2})}
    save_file(tensors, tmp_path / "lora.safetensors", metadata=said)
    assert read_lora(tmp_path / "lora.safetensors", parts).scaling("unet", UNET) == 3.0
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "r": 2}))
    save_file(tensors, tmp_path / "lora.safetensors")
    assert read_lora(tmp_path / "lora.safetensors", parts).scaling("unet", UNET) == 4.0
