"""The model card of an adapted generator: from what, by which command, and how it is used."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from ..core.text import visible
from .card import Facts, listed


def write_adapted_card(folder: Path, facts: Facts) -> None:
    """Write training.json and README.md into the folder of a LoRA or a pipeline."""
    (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_text(facts), encoding="utf-8")


def _text(facts: Facts) -> str:
    config, prompts = facts["config"], list(facts["prompts"].values())
    title, what, use = (_lora if facts["way"] == "lora" else _full)(facts)
    rate = f"{facts['learning_rate']:g}"
    prior = f", prior preservation {config['prior_preservation']:g}" if config["prior_preservation"] else ""
    return f"""# {title}

{what} trained on {facts["images"]:,} labelled images of {len(prompts)} classes, each with the prompt of its class:
{visible(listed(prompts))}.

    {visible(facts["command"])}

{config["steps"]:,} steps of {config["batch_size"]} images at {facts["resolution"]} pixels, peak learning rate {rate}{prior};
{facts["parameters"]:,} trained weights, {facts["wall_seconds"] / 60:.0f} wall minutes on {facts["device"]}, torch
{facts["torch"]}, seed {config["seed"]}. Full configuration: `training.json`.

{use}
![loss](loss.png)

Text-only samples, a row a class, not chosen; before and after, from the same noise:

![before](samples-before.png)
![after](samples.png)
"""


def _lora(facts: Facts) -> tuple[str, str, str]:
    name, out, prompt = visible(facts["generator"]), facts["out"], next(iter(facts["prompts"].values()))
    options = facts["config"]["lora"]
    networks = "UNet and text encoders" if options["text_encoder"] else "UNet"
    train = _train(facts, facts["generator"], [f"loading.lora={out}"], "runs/lora")
    use = f"""In actgen:

    {train}

In diffusers:

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained({facts["folder"]!r})
pipeline.load_lora_weights({out!r})
pipeline({prompt!r}).images[0].save("picture.png")
```
"""
    return f"A LoRA for {name}", f"A LoRA of rank {options['rank']} for the {networks} of `{name}`,", use


def _full(facts: Facts) -> tuple[str, str, str]:
    name, out, prompt = visible(facts["generator"]), facts["out"], next(iter(facts["prompts"].values()))
    train = _train(facts, out, [], "runs/finetuned")
    use = f"""In actgen:

    {train}

In diffusers:

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained({out!r})
pipeline({prompt!r}).images[0].save("picture.png")
```
"""
    return f"{name}, fine-tuned", f"`{name}`, all weights of its UNet", use


def _train(facts: Facts, generator: str, settings: list[str], out: str) -> str:
    """Return the command that trains a classifier with the result, told the same prompts."""
    settings = settings + [setting for setting in facts["settings"] if setting.strip().startswith("prompts")]
    words = [word for setting in settings for word in ("--set", setting)]
    return visible(shlex.join(["actgen", "train", "--data", facts["data"], "--generator", generator, *words, "--out", out]))
