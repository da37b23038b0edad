"""What is gained by generating in a second process while the next epoch trains (`actgen train --generate-on cpu`).

    python benchmarks/background.py [--cores 0,1] [--epochs 40] [--images 2000] [--budget 0.45] [--steps 20] [--out FILE.md]

The same training and as many images of the bundled generator, twice, each in a fresh process and with one thread a process:

one after the other   one process on the first core: seconds of its training, seconds of its generation
at the same time      two processes on two cores: seconds of the whole loop, those of opening the second process included

The ratio is the second's seconds of the whole loop by the sum of the first's two parts. It can come near one half if the two
take equally long, so choose `--budget` to that end. Give two cores that nothing else uses; with one core the ratio says
nothing.
Before it is printed, it is checked that all images joined and that every line of the manifest says its staleness.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

WANTED = 0.75


def measure(folder: Path, settings: Sequence[str]) -> dict[str, float]:
    """Run the training of these settings here; return its seconds: of the whole loop, training, generation and waiting."""
    from actgen.data.store.store import Store
    from actgen.experiment.build import open_run
    from actgen.experiment.config import build_recipe
    from actgen.training.loop import fit

    training = open_run(build_recipe(settings=settings), folder)
    began = time.perf_counter()
    stats = list(fit(training))
    loop = time.perf_counter() - began
    rows = Store(folder / "store").snapshot().rows
    assert len(rows) == stats[-1].generated_so_far == stats[-1].synthetic_images
    if training.background is not None:
        assert {row["staleness"] for row in rows} == {1}
    return {
        "loop": loop,
        "training": sum(row.train_seconds for row in stats),
        "generation": sum(row.generation_seconds for row in stats),
        "waited": sum(row.waited_seconds for row in stats),
        "images": len(rows),
    }


def in_a_process(settings: Sequence[str], cores: set[int]) -> dict[str, float]:
    """Return what `measure` returns in a fresh process on these cores, with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--measure", str(Path(folder) / "run"), *settings]
        ended = subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def table(one: dict[str, float], two: dict[str, float], asked: argparse.Namespace) -> str:
    """Return what was measured, in Markdown."""
    parts = one["training"] + one["generation"]
    return (
        "\n".join(
            [
                f"`python benchmarks/background.py --cores {asked.cores} --epochs {asked.epochs} --images {asked.images} "
                f"--budget "
                f"{asked.budget} --steps {asked.steps}`",
                "",
                "| | images | training | generation | waited for it | whole loop |",
                "| --- | ---: | ---: | ---: | ---: | ---: |",
                _line("one after the other, one core", one),
                _line("at the same time, two cores", two),
                "",
                f"{two['loop']:.1f} s are {two['loop'] / parts:.2f} of the {parts:.1f} s of the two parts (wanted: {WANTED} "
                f"at most). "
                "Every image of the second run has a staleness of 1.",
            ]
        )
        + "\n"
    )


def _line(name: str, seen: dict[str, float]) -> str:
    seconds = " | ".join(f"{seen[part]:.1f} s" for part in ("training", "generation", "waited", "loop"))
    return f"| {name} | {seen['images']:.0f} | {seconds} |"


def main() -> None:
    """Measure both and print the table."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3:])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--budget", type=float, default=0.45)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    cores = [int(core) for core in asked.cores.split(",")]
    settings = [
        f"training.epochs={asked.epochs}",
        f"images={asked.images}",
        f"generation.budget={asked.budget}",
        "strategy=text-only",
        f"sampling.num_inference_steps={asked.steps}",
        f"training.test_every={asked.epochs}",
        "evaluation.on=validation",
        "evaluation.fraction=0.05",  # few: looking at them is neither part
        f"generation.until={(asked.epochs - 2) / asked.epochs + 1e-6}",
    ]
    one = in_a_process(settings, {cores[0]})
    two = in_a_process([*settings, "generation.on=cpu"], set(cores))
    text = table(one, two, asked)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
