"""The settings of the filters ([filters] in a recipe)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...core.options import Choices, Text, options

OFF, TOP_K, PROBABILITY = "off", "top-k", "probability"
RULES = (OFF, TOP_K, PROBABILITY)


@options("filters")
class Filters:
    """What a generated image must pass to be kept. On unless switched off: `leakage` and `emptiness`.

    What is generated is what the classifier gets wrong, so `consistency` is best lenient. Its classifier is an average over
    the rounds. `thumbnails.py` says how distances are measured; their usual value comes from benchmarks/leakage.py.
    """

    leakage: Annotated[bool, Field(description="Reject what is too near to a test image.")] = True
    leakage_distance: Annotated[float, Field(ge=0, le=2, description="What is nearer than this is too near.")] = 0.1
    duplicates: Annotated[bool, Field(description="Reject what is too near to a stored image of its class.")] = False
    duplicates_distance: Annotated[float, Field(ge=0, le=2, description="What is nearer than this is too near.")] = 0.1
    emptiness: Annotated[
        float,
        Field(ge=0, le=127, description="Reject images whose brightness varies by less than this many of 255 grey levels."),
    ] = 1.0
    sharpness: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Reject images with less than this share of the detail (variance of the Laplacian) that is usual in "
            "real images of the class; 0: off.",
        ),
    ] = 0.0
    consistency: Annotated[
        str,
        Choices(RULES),
        Field(description="The classifier must have the class among its first `top_k`, or give it `probability`."),
    ] = OFF
    top_k: Annotated[int, Field(ge=1, le=10**6, description="Of consistency = top-k.")] = 3
    probability: Annotated[float, Field(ge=0, le=1, description="Of consistency = probability.")] = 0.01
    average: Annotated[float, Field(ge=0, le=0.999, description="How much of the last rounds' classifier stays in it.")] = 0.5
    clip: Annotated[Text, Field(description="Folder or id of a CLIP model that must recognise the class; empty: none.")] = ""
    clip_top_k: Annotated[
        int, Field(ge=1, le=10**6, description="The class must be among its first so many, of the prompts of all classes.")
    ] = 3
    retries: Annotated[
        int, Field(ge=0, le=100, description="How often a rejected image is generated again from another seed in its round.")
    ] = 1
    keep_rejected: Annotated[bool, Field(description="Keep rejected images, in set_aside/rejected of the run.")] = False
