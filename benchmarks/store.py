"""What a store of many images costs: opening it, memory, an epoch's snapshot, adding one image.

    python benchmarks/store.py [--lines 1000 10000 100000 1000000] [--folder DIR] [--out FILE.md]

The lines are those that a run writes for Stable Diffusion with preset `default` (all settings repeated in every line); the
images of the lines are not made, since opening does not look at them. Every row is measured in a fresh process:

open       a new `Store`: seconds until its rows, keys and labels can be asked for
memory     the most resident memory of that process, and how much of it was there before opening (Python, numpy, torch)
snapshot   what an epoch starts with: `Store.snapshot()` and a `Mixture` of it
row        reading one line at random
add        adding one 64-pixel image, with its fsyncs: the median of 50

The manifest is in the page cache when it is read (it was just written): a cold disk adds its own reading time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CLASSES, A_ROUND = 1000, 10_000


def lines(count: int) -> Iterator[str]:
    """Yield manifest lines as a run writes them, with a chain."""
    from actgen.data.store.chain import CHAIN, START, link
    from actgen.diffusion.loading import Loading
    from actgen.generation.presets import PRESETS

    shared = {
        "class_name": "ankle boot",
        "prompt": "a photo of an ankle boot",
        "seed": 2**62 + 12345,
        "strategy": "actgen",
        "guides": ["image", "contrastive", "adversarial"],
        "guidance": asdict(PRESETS["default"]),
        "generator": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "generator_hash": "b" * 64,
        "loading": asdict(Loading()),
        "regenerated": "",
        "classifier_accuracy": 71.234,
        "guide_probability": 0.12345678,
        "probability": 0.87654321,
        "seconds": 1.2345,
    }
    previous = START
    for number in range(count):
        key = f"r{number // A_ROUND:03d}-{number % A_ROUND:05d}"
        source = {"split": "holdout", "index": number % 50_000, "key": f"train/n01440764/n01440764_{number % 50_000}.JPEG"}
        row = {
            "key": key,
            "file_name": f"images/{key}.png",
            "sha256": f"{number:064x}",
            "label": number % CLASSES,
            "round": number // A_ROUND,
            "source": source,
            **shared,
        }
        previous = link(previous, row)
        yield json.dumps({**row, CHAIN: previous}, ensure_ascii=False) + "\n"


def measure(folder: Path) -> dict[str, float]:
    """Open the store in `folder` and return seconds and GiB; to be called in a process of its own."""
    from actgen.core.memory import peak_gib
    from actgen.data.mixture import Mixture
    from actgen.data.store.store import Store

    before, began = peak_gib(), time.perf_counter()
    store = Store(folder)
    opened = time.perf_counter()
    snapshot = store.snapshot()
    mixture = Mixture(_no_images(), snapshot, size=64)
    taken = time.perf_counter()
    count = len(snapshot)
    rows = [snapshot.rows[number * 7919 % count]["label"] for number in range(200)]
    read = time.perf_counter()
    assert rows == [mixture.labels[number * 7919 % count] for number in range(200)]
    return {
        "lines": count,
        "open": opened - began,
        "before": before,
        "memory": peak_gib(),
        "snapshot": taken - opened,
        "row": (read - taken) / 200,
        "add": statistics.median(_add_seconds(store)),
    }


def _no_images() -> Any:
    import numpy as np

    from actgen.data.datasets.imageset import ArrayImages

    return ArrayImages(np.zeros((0, 64, 64), dtype=np.uint8), (), tuple(f"class {number}" for number in range(CLASSES)), ())


def _add_seconds(store: Any) -> list[float]:
    import numpy as np
    import torch

    from actgen.core.types import Request, Sample

    seconds = []
    for number in range(50):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        request = Request(key=f"new-{number}", label=1, class_name="b", prompt="b", seed=1, strategy="text-only", round=0)
        sample = Sample(request=request, image=Image.fromarray(pixels), latents=torch.zeros(4, 8, 8), mask=None, seconds=0.1)
        began = time.perf_counter()
        store.add(sample, {"probability": 0.5})
        seconds.append(time.perf_counter() - began)
    return seconds


def table(rows: Sequence[dict[str, float]]) -> str:
    """Return the measurements as a markdown table."""
    names = ("lines", "manifest", "open", "most memory (before opening)", "snapshot", "a row", "add an image")
    return "\n".join([_row(names), _row(["---:"] * len(names)), *(_row(_cells(row)) for row in rows)]) + "\n"


def _cells(row: dict[str, float]) -> list[str]:
    return [
        f"{row['lines']:,.0f}",
        f"{row['bytes'] / 1e6:,.0f} MB",
        f"{row['open']:.2f} s",
        f"{row['memory']:.2f} GiB ({row['before']:.2f})",
        f"{1e3 * row['snapshot']:.0f} ms",
        f"{1e6 * row['row']:.0f} us",
        f"{1e3 * row['add']:.1f} ms",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=SIZES)
    parser.add_argument("--folder", type=Path, default=None, help="where to write the stores; a temporary folder if not given")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    rows = []
    for count in arguments.lines:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            manifest = Path(folder) / "metadata.jsonl"
            with manifest.open("w", encoding="utf-8") as file:
                file.writelines(lines(count))
            command = [sys.executable, __file__, "--measure", folder]
            size = manifest.stat().st_size
            ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            rows.append({**json.loads(ended.stdout), "bytes": float(size)})
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    if arguments.out is not None:
        arguments.out.write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
