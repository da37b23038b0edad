"""Generator folders: every file of one damaged, configurations with every value wrong, code and formats that run some."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from .case import Case, link_tree, overwrite
from .damage import NASTY, damaged, leaves, replaced

ROUNDS = 5
CANARY = "ran.txt"
CODE = f"open({CANARY!r}, 'w').write('ran')\nclass Tiny: pass\n"
Change = Callable[[Path], object]


def _case(name: str, generator: Path, change: Change) -> Case:
    def build(folder: Path) -> list[str]:
        change(link_tree(generator, folder / "generator"))
        return [
            "generate",
            "--classes",
            "zero",
            "--count",
            "1",
            "--generator",
            str(folder / "generator"),
            "--out",
            str(folder / "out"),
            "--set",
            "sampling.num_inference_steps=1",
        ]

    return Case(f"generator {name}", build)


def cases(generator: Path) -> Iterator[Case]:
    files = [path.relative_to(generator) for path in sorted(generator.rglob("*")) if path.suffix in (".json", ".safetensors")]
    for number, path in enumerate(file for file in files if file.name != "training.json"):
        data = (generator / path).read_bytes()
        for seed in range(ROUNDS):
            yield _case(f"{path} {seed}", generator, _write(path, damaged(data, 100 * number + seed)))
        yield _case(f"{path} gone", generator, lambda root, path=path: (root / path).unlink())  # type: ignore[misc]
        if path.suffix == ".json" and path.name != "tokenizer.json":
            tree = json.loads(data)
            for leaf, place in enumerate(leaves(tree)):
                value = NASTY[(leaf + number) % len(NASTY)]
                wrong = json.dumps(replaced(tree, place, value)).encode()
                yield _case(f"{path} {'.'.join(map(str, place))} = {str(value)[:20]!r}", generator, _write(path, wrong))
    for name, change in by_hand().items():
        yield _case(name, generator, change)


def _write(path: Path | str, data: bytes) -> Change:
    return lambda root: overwrite(root / path, data)


def _index(root: Path, **changes: object) -> None:
    index = json.loads((root / "model_index.json").read_text(encoding="utf-8"))
    overwrite(root / "model_index.json", json.dumps({**index, **changes}).encode())


def own_pipeline(root: Path) -> None:
    overwrite(root / "pipeline.py", CODE.encode())
    _index(root, _class_name=["pipeline", "Tiny"])


def own_part(root: Path) -> None:
    overwrite(root / "unet" / "mine.py", CODE.encode())
    _index(root, unet=["mine", "Tiny"])


def own_module(root: Path) -> None:
    overwrite(root.parent / "mine.py", CODE.encode())  # where the program was started
    _index(root, unet=["mine", "Tiny"])


def auto_map(root: Path) -> None:
    path = root / "text_encoder" / "config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), "auto_map": {"AutoModel": "mine.Tiny"}, "model_type": "mine"}
    overwrite(path, json.dumps(config).encode())
    overwrite(root / "text_encoder" / "mine.py", CODE.encode())


def unsafe_weights(part: str, name: str) -> Change:
    """Put weights that run code when they are unpickled in the place of the safe ones."""
    program = b"cposix\nsystem\n(S'touch " + CANARY.encode() + b"'\ntR."

    def change(root: Path) -> None:
        for path in (root / part).glob("*.safetensors"):
            path.unlink()
        overwrite(root / part / name, program)

    return change


def by_hand() -> dict[str, Change]:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    weights = "unet/diffusion_pytorch_model.safetensors"
    return {
        "own pipeline": own_pipeline,
        "own part": own_part,
        "own module": own_module,
        "auto_map": auto_map,
        "unet in a format that runs": unsafe_weights("unet", "diffusion_pytorch_model.bin"),
        "vae in a format that runs": unsafe_weights("vae", "diffusion_pytorch_model.bin"),
        "text encoder in a format that runs": unsafe_weights("text_encoder", "pytorch_model.bin"),
        "another library": lambda root: _index(root, unet=["os", "system"]),
        "a number": lambda root: _index(root, unet=[1, 2]),
        "a path": lambda root: _index(root, **{"../../outside": ["diffusers", "UNet2DConditionModel"]}),
        "another pipeline": lambda root: _index(root, _class_name="FluxPipeline"),
        "no pipeline": lambda root: _index(root, _class_name="UNet2DConditionModel"),
        "an unknown pipeline": lambda root: _index(root, _class_name="NoSuchPipeline"),
        "index of a list": _write("model_index.json", b"[]"),
        "index nested": _write("model_index.json", b"[" * 100_000),
        "index large": _write("model_index.json", b" " * (2**20 + 1)),
        "index of bytes": _write("model_index.json", b"\xff\xfe"),
        "config nested": _write("unet/config.json", b'{"a":' * 50_000),
        "config of a list": _write("vae/config.json", b"[1]"),
        "weights of nothing": _write(weights, b""),
        "weights without end": _write(weights, struct.pack("<Q", 2**62) + b"{}"),
        "weights too large": _write(weights, struct.pack("<Q", len(header)) + header),
        "weights of a picture": _write(weights, b"\x89PNG\r\n\x1a\n"),
    }
