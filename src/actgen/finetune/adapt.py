"""`actgen finetune --lora` and `--full`: a generator and labelled images -> LoRA weights, or the generator trained on.

The work folder (`OUT.work`) holds checkpoints, the prior's images, sheets of samples and the loss curve; `OUT` appears only
when it is complete.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from torch import nn

from ..core import files
from ..core.device import open_accelerator
from ..core.errors import UserError, refuse_file
from ..core.lock import locked, refuse_in_use
from ..core.memory import is_out_of_memory
from ..core.text import read_text
from ..data.datasets.imageset import ImageSet, names_digest
from ..data.store.store import Store
from ..diffusion.loading import Loading
from ..diffusion.pipeline import PipelineAdapter
from ..generation.presets import SamplingConfig
from ..generation.sampler import ImageSampler
from .adapted_card import write_adapted_card
from .card import draw_sheet, plot_losses
from .claim import claim
from .examples import Examples
from .full import save_full, unfreeze
from .lora import attach, require_peft, save_lora
from .objective import Objective, refuse_untrainable
from .optimise import Tick, optimise, seconds_spent
from .options import AdaptOptions, as_flags
from .prior import PriorImages, generate_prior
from .scratch import ScratchProgress

ROWS, COLUMNS = 6, 4  # of a sheet of samples, at most
_HALF = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_ANYTIME = ("steps", "gradient_checkpointing", "sample_every")  # may change while an adaptation is continued


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What is adapted to what. `prompts`: class name -> prompt, of every class in the order of the labels.

    `generator` is a pipeline folder or hub id, `name` what to call it in the card, `sampling` how samples and the prior's
    images are generated; `data`, `limit` (--images) and `settings` (as of --set) are what the card says of the command.
    """

    images: ImageSet
    prompts: Mapping[str, str]
    generator: str
    out: Path
    options: AdaptOptions
    sampling: SamplingConfig
    name: str = ""
    data: str = "DATA"
    limit: int = 0
    settings: Sequence[str] = ()

    @property
    def work(self) -> Path:
        """The folder of what is not finished."""
        return self.out.with_name(self.out.name + ".work")


def adapt(task: Adaptation) -> Iterator[ScratchProgress]:
    """Adapt a generator, a `ScratchProgress` a step; the same call continues one that was stopped.

    `UserError` before anything is written if the generator or the options cannot be used, or if `out` exists.
    """
    refuse_file(task.out)
    if task.out.exists():
        raise UserError(f"--out {task.out} exists already. Choose a new folder, or remove it to train again.")
    refuse_in_use(task.work)
    if task.options.lora is not None:
        require_peft()
    if PartialState().num_processes > 1:
        raise UserError("finetune runs in one process. Start it without accelerate launch or torchrun.")
    accelerator = open_accelerator(task.options.precision, f"--precision {task.options.precision}")
    adapter = PipelineAdapter.from_pretrained(task.generator, device=str(accelerator.device), loading=Loading(dtype="float32"))
    adapter.name = task.name or adapter.name
    refuse_untrainable(adapter)
    resolution = _resolution(adapter, task.options.resolution)
    with locked(task.work):
        claim(task.work, _claimed(task, adapter, resolution))
        files.clean(task.work)
        try:
            yield from _train(task, adapter, accelerator, resolution)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"{task.options.batch_size} images of {resolution} pixels do not fit into memory. Add "
                "--gradient-checkpointing to the same command, or start again with another --out and a smaller "
                "--batch-size or --resolution, or --lora."
            ) from error


def _train(task: Adaptation, adapter: PipelineAdapter, accelerator: Accelerator, resolution: int) -> Iterator[ScratchProgress]:
    options, way = task.options, task.options.way
    yield from _generate_prior(task, adapter)
    _generate_samples(task, adapter, 0)
    trained = _prepare(task, adapter, resolution)
    prompts = list(task.prompts.values())
    prior = None
    if options.prior_preservation:
        generated = PriorImages(Store(task.work / "prior").snapshot(), list(task.prompts))
        prior = Examples(generated, prompts, resolution)
    loss_at = Objective(adapter, Examples(task.images, prompts, resolution), options, accelerator.autocast, prior)
    for tick in optimise(
        trained, loss_at, options.schedule, task.work / way, scaler=accelerator.scaler, checkpoint_steps=options.sample_every
    ):
        if options.sample_every and tick.step % options.sample_every == 0 and tick.step < tick.steps:
            with tick.averaged():
                _generate_samples(task, adapter, tick.step)
            plot_losses(task.work, task.work / "loss.png", [way])
        yield ScratchProgress(way, tick)
    _generate_samples(task, adapter, options.steps)
    plot_losses(task.work, task.work / "loss.png", [way])
    _publish(task, adapter, trained, resolution)


def _generate_prior(task: Adaptation, adapter: PipelineAdapter) -> Iterator[ScratchProgress]:
    options = task.options
    if options.prior_preservation:
        count = max(options.prior_images, len(task.prompts))
        sampler = ImageSampler(adapter, task.sampling)
        for done in generate_prior(sampler, task.prompts, count, task.work / "prior", options.seed):
            yield ScratchProgress("prior", Tick(done, count))


def _prepare(task: Adaptation, adapter: PipelineAdapter, resolution: int) -> nn.Module:
    """Return the networks that are trained, all other weights frozen."""
    options = task.options
    for network in adapter.networks:
        network.requires_grad_(False)
    if options.gradient_checkpointing:
        adapter.unet.enable_gradient_checkpointing()
    if options.lora is None:
        return unfreeze(adapter, resolution)
    return attach(adapter, options.lora, options.seed, _HALF[options.precision])


def _generate_samples(task: Adaptation, adapter: PipelineAdapter, step: int) -> None:
    """Generate the sheet of `step` with the weights as they are, unless it is there."""
    path = _sheet(task, step)
    if path.exists():
        return
    adapter.forget_texts()
    sampler = ImageSampler(adapter, task.sampling)
    names = list(task.prompts)[:ROWS]
    sheet = draw_sheet(sampler, names, task.options.seed, columns=COLUMNS, prompts=task.prompts)
    with files.whole(path) as file:
        sheet.save(file, format="PNG")


def _sheet(task: Adaptation, step: int) -> Path:
    return task.work / "samples" / f"{step:06d}.png"


def _publish(task: Adaptation, adapter: PipelineAdapter, trained: nn.Module, resolution: int) -> None:
    part = task.out.with_name(task.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if task.options.lora is None:
        save_full(adapter, part)
    else:
        save_lora(adapter, task.options.lora, part)
    shutil.copyfile(_sheet(task, 0), part / "samples-before.png")
    shutil.copyfile(_sheet(task, task.options.steps), part / "samples.png")
    shutil.copyfile(task.work / "loss.png", part / "loss.png")
    write_adapted_card(part, _facts(task, adapter, trained, resolution))
    part.replace(task.out)


def _resolution(adapter: PipelineAdapter, wanted: int | None) -> int:
    """Return the size to train at in pixels; `UserError` if the networks cannot work at it."""
    size = wanted or adapter.image_size
    step = adapter.vae_factor * 2 ** (len(adapter.unet.config.block_out_channels) - 1)
    if size % step:
        raise UserError(
            f"--resolution {size} cannot be used with this generator: give a multiple of {step}, such as "
            f"{max(step, size // step * step)}; its own is {adapter.image_size}."
        )
    return size


def _claimed(task: Adaptation, adapter: PipelineAdapter, resolution: int) -> dict[str, object]:
    options = {key: value for key, value in asdict(task.options).items() if key not in _ANYTIME}
    options |= {"resolution": resolution, "learning_rate": task.options.schedule.learning_rate}
    sampling = asdict(task.sampling) if task.options.prior_preservation else None
    return {
        **options,
        "generator": adapter.weights_hash,
        "data": names_digest(task.images),
        "prompts": dict(task.prompts),
        "sampling": sampling,
    }


def _facts(task: Adaptation, adapter: PipelineAdapter, trained: nn.Module, resolution: int) -> dict[str, object]:
    options = task.options
    more = ["--images", str(task.limit)] if task.limit else []
    more += [word for setting in task.settings for word in ("--set", setting)]
    command = [
        "actgen",
        "finetune",
        "--generator",
        adapter.name,
        *as_flags(options),
        "--data",
        task.data,
        *more,
        "--out",
        str(task.out),
    ]
    device = f"CPU, {torch.get_num_threads()} threads"
    if adapter.device.type == "cuda":
        device = torch.cuda.get_device_name(adapter.device)
    return {
        "way": options.way,
        "generator": adapter.name,
        "folder": task.generator,
        "generator_hash": adapter.weights_hash,
        "out": str(task.out),
        "data": task.data,
        "settings": list(task.settings),
        "images": len(task.images.labels),
        "prompts": dict(task.prompts),
        "config": {**asdict(options), **_architecture(task)},
        "resolution": resolution,
        "learning_rate": options.schedule.learning_rate,
        "command": shlex.join(command),
        "parameters": sum(p.numel() for p in trained.parameters() if p.requires_grad),
        "wall_seconds": round(seconds_spent(task.work / options.way), 1),
        "device": device,
        "torch": torch.__version__,
    }


def _architecture(task: Adaptation) -> dict[str, str]:
    """Return what the generator's own card says of its architecture, which the preset of generating follows."""
    try:
        return {"architecture": str(json.loads(read_text(Path(task.generator) / "training.json"))["config"]["architecture"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
