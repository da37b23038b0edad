"""Train the bundled `fashion-mnist-clip`: a CLIP-type model (Radford et al. 2021) of 0.4M parameters that judges generated
images.

    python benchmarks/make_fashion_mnist_clip.py --data idx:DIR --out FOLDER

DIR holds the four IDX files of the full Fashion-MNIST. It learns from the images and captions that the bundled generator has
learned from, and starts from its text encoder, as Stable Diffusion 1.x reads its prompts with that of a CLIP model. Stopped,
the same command goes on. The loss is that of CLIP's figure 3 from images to captions, with the captions of a batch that are
alike counted once, since there are as many captions as classes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress, TextColumn, track
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPTextModel,
    ConvNextConfig,
    ConvNextModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
)

from actgen.classifiers.zero_shot import ZeroShot
from actgen.core.assets import bundled_generator
from actgen.core.class_words import class_prompt
from actgen.core.rng import derive, generator, streams
from actgen.data.datasets.imageset import ImageSet, to_pixels
from actgen.data.datasets.sources import load_data
from actgen.finetune.optimise import Schedule, maybe_compiled, optimise, seconds_spent
from actgen.finetune.tiny import TEMPLATES
from actgen.training.augment.moves import Moves

SIZE, BORDER = 28, 2  # of the 32 pixels that the generator generates, two at each side are black
SCHEDULE = Schedule(steps=5600, batch_size=256, learning_rate=2e-3, warmup=200, decay=0.6)
SHIFT, ERASE = 2, RandomErasing(0.2, max_area=0.25, device="cpu")
WIDTHS, DEPTHS = [32, 64, 128], [1, 2, 1]


def build(seed: int) -> tuple[VisionTextDualEncoderModel, VisionTextDualEncoderProcessor]:
    """Return a model with an untrained image encoder and the generator's text encoder, and its processor for 32-pixel images.

    Convolutions, not CLIP's transformer: they need fewer images and less time to see clothes.
    """
    tokenizer = AutoTokenizer.from_pretrained(bundled_generator() / "tokenizer")
    text = CLIPTextModel.from_pretrained(bundled_generator() / "text_encoder", dtype=torch.float32)
    vision = ConvNextConfig(
        hidden_sizes=WIDTHS,
        depths=DEPTHS,
        num_stages=len(WIDTHS),
        hidden_size=WIDTHS[-1],
        patch_size=2,
        image_size=SIZE,
        layer_scale_init_value=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "clip"))
        config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text.config, projection_dim=64)
        model = VisionTextDualEncoderModel(config, ConvNextModel(vision), text)
    images = CLIPImageProcessor(
        size={"height": SIZE + 2 * BORDER, "width": SIZE + 2 * BORDER}, crop_size={"height": SIZE, "width": SIZE}
    )
    return model, VisionTextDualEncoderProcessor(images, tokenizer)


def train(
    model: VisionTextDualEncoderModel,
    processor: VisionTextDualEncoderProcessor,
    pixels: Tensor,
    labels: Tensor,
    names: Sequence[str],
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> None:
    """Train on `pixels` (uint8 [N, 3, 32, 32]) with `labels` [N]; the state is kept in `folder`."""
    model.train()
    model.vision_model.to(memory_format=torch.channels_last)
    vision = maybe_compiled(model.vision_model, compile=True)
    told = [
        processor.tokenizer([class_prompt(name, template) for name in names], padding=True, return_tensors="pt")
        for template in TEMPLATES
    ]
    mean, spread = (
        torch.tensor(one).view(1, 3, 1, 1)
        for one in (processor.image_processor.image_mean, processor.image_processor.image_std)
    )

    def loss_at(step: int) -> Tensor:
        rng = generator(seed, "clip", step)
        rows = torch.randint(len(pixels), (schedule.batch_size,), generator=rng)
        moves = Moves.of_epoch(SHIFT, True, schedule.batch_size, seed, step)
        images = moves(pixels[rows].float() / 255.0, range(schedule.batch_size))[:, :, BORDER:-BORDER, BORDER:-BORDER]
        with streams() as start:
            start(derive(seed, "erase", step))
            images = ERASE(images)
        images = ((images - mean) / spread).contiguous(memory_format=torch.channels_last)
        seen = F.normalize(model.visual_projection(vision(pixel_values=images).pooler_output))
        text = model.text_model(**told[int(torch.randint(len(told), (1,), generator=rng))]).pooler_output
        alike = seen @ F.normalize(model.text_projection(text)).T
        return F.cross_entropy(model.logit_scale.clamp(max=4.6).exp() * alike, labels[rows])

    with Progress(*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]:.3f}")) as bar:
        task = bar.add_task("training", total=schedule.steps, loss=float("nan"))
        for tick in optimise(model, loss_at, schedule, folder):
            bar.update(task, completed=tick.step, loss=tick.loss)
    model.eval()


def accuracy(folder: Path, images: ImageSet) -> float:
    """Return the zero-shot accuracy in percent of the model in `folder` as actgen asks it."""
    judge = ZeroShot(str(folder), images.class_names, given="--out")
    rows = torch.arange(len(images.labels)).split(100)
    named = torch.cat(
        [judge.probabilities([images.image(int(i)) for i in some]).argmax(dim=1) for some in track(rows, "measuring")]
    )
    return 100.0 * float((named == torch.tensor(list(images.labels))).float().mean())


def main() -> None:
    """Train, save as float16 and measure once on the test images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="idx:DIR of the full Fashion-MNIST")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=SCHEDULE.steps)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = load_data(given.data)
    assert data.test is not None
    work = given.out.with_name(given.out.name + ".work")
    schedule = Schedule(**{**vars(SCHEDULE), "steps": given.steps})
    model, processor = build(given.seed)
    train(
        model,
        processor,
        to_pixels(data.train, SIZE + 2 * BORDER),
        torch.tensor(list(data.train.labels)),
        data.train.class_names,
        schedule,
        work,
        given.seed,
    )
    model.half().save_pretrained(given.out)
    processor.save_pretrained(given.out)
    quality = {
        "test_accuracy": accuracy(given.out, data.test),
        "training_images": len(data.train.labels),
        "parameters": model.num_parameters(),
        "steps": given.steps,
        "batch_size": schedule.batch_size,
        "minutes": round(seconds_spent(work) / 60, 1),
    }
    (given.out / "quality.json").write_text(json.dumps(quality, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(quality))
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
