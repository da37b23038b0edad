"""`actgen finetune --from-scratch`: labelled images -> a Stable-Diffusion-type pipeline folder.

Stages, each resumable: the autoencoder; a small classifier whose features sharpen the decoder; the denoiser on the cached
latents. The work folder (`OUT.work`) holds
checkpoints and loss curves; `OUT` appears only when it is complete.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from ..classifiers.small_cnn import SmallCNN
from ..core.errors import UserError, refuse_file, refuse_unknown
from ..core.lock import locked
from ..core.options import LARGEST_WHOLE, Choices, options
from ..core.rng import derive
from ..data.datasets.imageset import ImageSet, to_pixels
from . import tiny
from .autoencoder import encode, train_autoencoder
from .card import STAGES, Facts, write_card
from .claim import claim
from .decoder import train_decoder, train_features
from .denoiser import train_denoiser
from .optimise import Schedule, Tick, seconds_spent

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

ARCHITECTURES = ("tiny",)


@options("scratch")
class ScratchConfig:
    """What a training from scratch depends on; recorded in the model card."""

    architecture: Annotated[str, Choices(ARCHITECTURES), Field(description="Which small generator.")] = "tiny"
    seed: Annotated[int, Field(ge=0, le=LARGEST_WHOLE, description="Everything random follows from it.")] = 0
    autoencoder: Schedule = field(default_factory=lambda: Schedule(steps=2600, batch_size=64, learning_rate=2e-3))
    denoiser: Schedule = field(default_factory=lambda: Schedule(steps=20000, batch_size=64, learning_rate=8e-4))
    features: Schedule = field(default_factory=lambda: Schedule(steps=2000, batch_size=64, learning_rate=2e-3))
    decoder: Schedule = field(default_factory=lambda: Schedule(steps=800, batch_size=64, learning_rate=1e-3))
    kl_weight: Annotated[float, Field(ge=0, le=1e6, description="Weight of the autoencoder's KL divergence.")] = 2e-3
    perceptual_weight: Annotated[float, Field(ge=0, le=1e6, description="Weight of the decoder's loss on features.")] = 2.0


def from_scratch(
    images: ImageSet,
    out: Path,
    *,
    architecture: str = "tiny",
    steps: int | None = None,
    autoencoder_steps: int | None = None,
    seed: int = 0,
    source: str = "DATA",
    compile: bool = False,
) -> Iterator[ScratchProgress]:
    """Check the request, then train with the default configuration and these numbers of steps (see `train_from_scratch`)."""
    refuse_unknown("--from-scratch", architecture, ARCHITECTURES)
    refuse_file(out)
    if out.exists():
        raise UserError(f"--out {out} exists already. Choose a new folder, or remove it to train again.")
    config = ScratchConfig(architecture=architecture, seed=seed)
    if steps is not None:
        config = replace(config, denoiser=replace(config.denoiser, steps=steps))
    if autoencoder_steps is not None:

        def at_most(schedule: Schedule) -> Schedule:
            return replace(schedule, steps=min(schedule.steps, autoencoder_steps))

        config = replace(
            config,
            autoencoder=replace(config.autoencoder, steps=autoencoder_steps),
            features=at_most(config.features),
            decoder=at_most(config.decoder),
        )
    return train_from_scratch(images, out, config, source=source, compile=compile)


@dataclass(frozen=True)
class ScratchProgress:
    """A finished step of a named stage."""

    stage: str
    tick: Tick


def train_from_scratch(
    images: ImageSet, out: Path, config: ScratchConfig, *, source: str = "DATA", compile: bool = False
) -> Iterator[ScratchProgress]:
    """Train the architecture on `images` and write the pipeline to `out` (fp16 safetensors), a `ScratchProgress` a step.

    The same call continues an interrupted run; with another configuration it is refused. `source` names the data in the card.
    """
    work = out.with_name(out.name + ".work")
    with locked(work):
        _claim(work, config, images)
        yield from _stages(images, out, config, work, source, compile)


def _stages(
    images: ImageSet, out: Path, config: ScratchConfig, work: Path, source: str, compile: bool
) -> Iterator[ScratchProgress]:
    tokenizer = tiny.build_tokenizer(images.class_names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, "weights"))
        vae, unet, text_encoder = tiny.build_autoencoder(), tiny.build_unet(), tiny.build_text_encoder(tokenizer)
        network = SmallCNN(len(images.class_names))
    pixels = to_pixels(images, tiny.IMAGE_SIZE)
    for tick in train_autoencoder(
        vae, pixels, config.autoencoder, work / "autoencoder", seed=config.seed, kl_weight=config.kl_weight, compile=compile
    ):
        yield ScratchProgress("autoencoder", tick)
    latents = encode(vae, pixels)
    labels = torch.tensor(images.labels)
    for tick in train_features(network, pixels, labels, config.features, work / "features", seed=config.seed):
        yield ScratchProgress("features", tick)
    for tick in train_decoder(
        vae, network, pixels, latents, config.decoder, work / "decoder", seed=config.seed, weight=config.perceptual_weight
    ):
        yield ScratchProgress("decoder", tick)
    for tick in train_denoiser(
        unet,
        text_encoder,
        tokenizer,
        latents,
        labels,
        images.class_names,
        config.denoiser,
        work / "denoiser",
        seed=config.seed,
        compile=compile,
    ):
        yield ScratchProgress("denoiser", tick)
    for module in (vae, unet, text_encoder):
        module.half()
    pipeline = tiny.assemble(vae, unet, text_encoder, tokenizer)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline.save_pretrained(part, safe_serialization=True)
    write_card(part, work, _facts(pipeline, images, config, out, work, source, compile))
    part.replace(out)


def _facts(
    pipeline: DiffusionPipeline, images: ImageSet, config: ScratchConfig, out: Path, work: Path, source: str, compile: bool
) -> Facts:
    steps = f"--autoencoder-steps {config.autoencoder.steps} --steps {config.denoiser.steps}"
    modules = (pipeline.vae, pipeline.unet, pipeline.text_encoder)
    return {
        "images": len(images.labels),
        "classes": list(images.class_names),
        "config": asdict(config),
        "command": f"actgen finetune --from-scratch {config.architecture} --data {source} {steps} --seed {config.seed}"
        + (" --compile" if compile else "")
        + f" --out {shlex.quote(str(out))}",
        "parameters": sum(parameter.numel() for module in modules for parameter in module.parameters()),
        "wall_seconds": {stage: round(seconds_spent(work / stage), 1) for stage in STAGES},
        "device": f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }


def _claim(work: Path, config: ScratchConfig, images: ImageSet) -> None:
    facts: Facts = {**asdict(config), "images": len(images.labels), "classes": list(images.class_names)}
    del facts["denoiser"]["steps"]  # more steps may be asked for: the rate is constant until the last stretch
    claim(work, facts)
