"""How near are copies of test images, and how near is what is no copy? Where the leakage guard's threshold comes from.

    python benchmarks/leakage.py [--data idx:DIR] [--copies N] [--generated N] > benchmarks/leakage_DATE.md

Distances as `actgen.generation.filters.thumbnails` measures them, to the nearest test image: of copies of test images that were
compressed, resized, mirrored, padded, made brighter; of real training images; of images that the bundled generator generates
from class prompts and from training images as guides. The same for the tiles of two photographs in colour, half of them as test
images. Last, time and memory for 50,000 test images of 224 pixels.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from actgen.core.assets import bundled_generator
from actgen.core.class_words import class_prompt
from actgen.core.rng import derive, permutation
from actgen.core.types import Request, Source
from actgen.data.datasets.imageset import ArrayImages, ImageSet
from actgen.data.datasets.sources import load_data
from actgen.generation.filters.options import Filters
from actgen.generation.filters.thumbnails import LOOKS, WIDTH, Album, describe, look_at, thumbnails
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext

THRESHOLD = Filters().leakage_distance
BORDERED = [f"without its border{how}" for how in (" (MNIST's 28 pixels)", ", JPEG 75", ", resized to the whole")]
Change = Callable[[Image.Image], Image.Image]


def changes() -> dict[str, Change]:
    """Return what is done to a copy."""
    return {
        "exact": lambda image: image,
        "JPEG, quality 90": lambda image: jpeg(image, 90),
        "JPEG, quality 75": lambda image: jpeg(image, 75),
        "JPEG, quality 50": lambda image: jpeg(image, 50),
        "resized to 28/32 of the side": lambda image: resized(image, 28 / 32),
        "resized to 30/32": lambda image: resized(image, 30 / 32),
        "resized to 36/32": lambda image: resized(image, 36 / 32),
        "resized to 7 times the side": lambda image: resized(image, 7),
        "resized to 28/32 and back": lambda image: resized(image, 28 / 32).resize(image.size, Image.Resampling.BICUBIC),
        "resized to 28/32, JPEG 75": lambda image: jpeg(resized(image, 28 / 32), 75),
        "mirrored": mirrored,
        "mirrored, resized to 30/32, JPEG 75": lambda image: jpeg(resized(mirrored(image), 30 / 32), 75),
        "brightness -2%": lambda image: brighter(image, 0.98),
        "brightness +2%": lambda image: brighter(image, 1.02),
        "brightness +20%": lambda image: brighter(image, 1.2),
        "without its border (MNIST's 28 pixels)": without_border,
        "without its border, JPEG 75": lambda image: jpeg(without_border(image), 75),
        "without its border, resized to the whole": lambda image: without_border(image).resize(image.size),
        "moved by one pixel of 32 (not looked for)": moved,
    }


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Return the image after compression."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def resized(image: Image.Image, factor: float) -> Image.Image:
    """Return the image at another size."""
    return image.resize((round(image.size[0] * factor),) * 2, Image.Resampling.BICUBIC)


def mirrored(image: Image.Image) -> Image.Image:
    """Return the image seen in a mirror."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def brighter(image: Image.Image, factor: float) -> Image.Image:
    """Return the image with all levels times `factor`."""
    return Image.fromarray((np.asarray(image, dtype=np.float64) * factor).clip(0, 255).round().astype(np.uint8))


def without_border(image: Image.Image) -> Image.Image:
    """Return the inner 28/32 of the side."""
    edge = image.size[0] / 16
    return image.crop((round(edge), round(edge), round(image.size[0] - edge), round(image.size[1] - edge)))


def moved(image: Image.Image) -> Image.Image:
    """Return the image moved to the right by 1/32 of its side."""
    return Image.fromarray(np.roll(np.asarray(image), image.size[0] // 32, axis=1))


def distances(album: Album, images: Sequence[Image.Image]) -> np.ndarray:
    """Return the distance of each image to the nearest of the album."""
    found = [near for start in range(0, len(images), 64) for near in album.nearest(look_at(images[start : start + 64]))]
    return np.array([near.distance for near in found])


def copies_table(album: Album, test: ImageSet, rows: Sequence[int], skip: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of the table of copies; the distance is that to the original or to what is nearer still."""
    yield "| copies of test images | median | 99% | largest | refused |"
    yield "|---|---|---|---|---|"
    for name, change in changes().items():
        if name not in skip:
            apart = distances(album, [change(test.image(i)) for i in rows])
            yield (
                f"| {name} | {np.median(apart):.3f} | {np.quantile(apart, 0.99):.3f} | {apart.max():.3f} "
                f"| {np.mean(apart < THRESHOLD):.1%} |"
            )


def others_table(kinds: dict[str, np.ndarray]) -> Iterator[str]:
    """Yield the lines of the table of what is no copy."""
    yield "| no copies | count | smallest | 0.1% | 1% | median | refused |"
    yield "|---|---|---|---|---|---|---|"
    for name, apart in kinds.items():
        low, some, middle = np.quantile(apart, (0.001, 0.01, 0.5))
        yield (
            f"| {name} | {len(apart)} | {apart.min():.3f} | {low:.3f} | {some:.3f} | {middle:.3f} "
            f"| {np.sum(apart < THRESHOLD)} |"
        )


def generated(train: ImageSet, count: int, guided: bool) -> list[Image.Image]:
    """Return images of the bundled generator, from class prompts alone or from training images as guides."""
    sampler = ImageSampler.from_pretrained(str(bundled_generator()), preset="tiny")
    order, names = permutation(len(train.labels), 0, "guides"), train.class_names
    requests = []
    for number in range(count):
        row = order[number % len(order)]
        label = train.labels[row] if guided else number % len(names)
        requests.append(
            Request(
                key=f"{number:05d}",
                label=label,
                class_name=names[label],
                prompt=class_prompt(names[label]),
                seed=derive(0, "leakage", number),
                strategy="benchmark",
                round=0,
                source=Source(split="training", index=row, key=train.keys[row]) if guided else None,
                guides=("image",) if guided else (),
            )
        )

    def guide(request: Request) -> Image.Image:
        assert request.source is not None
        return train.image(request.source.index)

    return [sample.image for sample in sampler.generate(requests, SamplingContext(guide_image=guide))]


def tiles(side: int = 64) -> tuple[ArrayImages, list[Image.Image]]:
    """Return the tiles of two photographs: every other one as test images, the rest."""
    squares = [
        photo[y : y + side, x : x + side]
        for photo in load_sample_images().images
        for y in range(0, photo.shape[0] - side + 1, side)
        for x in range(0, photo.shape[1] - side + 1, side)
    ]
    test = np.stack(squares[::2])
    keys = tuple(f"tile/{i}" for i in range(len(test)))
    return ArrayImages(test, (0,) * len(test), ("tile",), keys), [Image.fromarray(one) for one in squares[1::2]]


def large() -> Iterator[str]:
    """Yield what 50,000 test images of 224 pixels cost: timed on some, and on an album of random vectors."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8))
    began = time.perf_counter()
    for _ in range(8):
        describe(thumbnails([picture] * 32))
    seconds = (time.perf_counter() - began) / 256
    album, count = Album(), 50_000
    album.add([str(i) for i in range(count)], F.normalize(torch.randn(count, WIDTH), dim=1))
    looks = look_at([picture])
    began = time.perf_counter()
    for _ in range(20):
        album.nearest(looks)
    search = (time.perf_counter() - began) / 20
    yield (
        f"50,000 test images of 224 pixels, {torch.get_num_threads()} thread(s): {50_000 * seconds:.0f} s to describe, once "
        f"a run and besides reading them; {50_000 * WIDTH * 4 / 1e6:.0f} MB to keep; then {search * 1000:.0f} ms a generated "
        f"image in {len(LOOKS)} looks."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist-mini")
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--drawn", type=int, default=1000)
    given = parser.parse_args()
    data = load_data(given.data)
    assert data.test is not None
    album = Album.of(data.test)
    chosen = permutation(len(data.test.labels), 0, "copies")[: given.copies]
    real = permutation(len(data.train.labels), 0, "train")[: given.train]
    print(f"# Distances to the nearest test image, threshold {THRESHOLD}\n")
    named = "idx:DIR" if given.data.startswith("idx:") else given.data
    print(
        f"    python benchmarks/leakage.py --data {named} --copies {given.copies} --train {given.train} "
        f"--generated {given.generated}\n\n{len(album)} test images.\n"
    )
    print(*copies_table(album, data.test, chosen), "", sep="\n", flush=True)
    kinds = {"real training images": distances(album, [data.train.image(i) for i in real])}
    for name, guided in (("generated from class prompts", False), ("generated with training images as guides", True)):
        kinds[name] = distances(album, generated(data.train, given.generated, guided))
    print(*others_table(kinds), "", sep="\n", flush=True)
    test, others = tiles()
    photos = Album.of(test)
    print(f"Two photographs in colour, {len(test.labels)} tiles of 64 pixels as test images, the other tiles as no copies.\n")
    print(*copies_table(photos, test, range(len(test.labels)), BORDERED), "", sep="\n")
    print(*others_table({"other tiles of the same photographs": distances(photos, others)}), "", *large(), sep="\n")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
