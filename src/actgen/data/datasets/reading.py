"""How a folder of images is to be read, where it could mean two things or needs leave for something."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...core.options import Choices, Text, options
from .decoding import Limits

AUTO, CLASSES, SPLITS, NAMES, TABLE = LAYOUTS = ("auto", "classes", "splits", "names", "table")


@options("reading")
class Reading:
    """How a folder of images is read; what is not given is found, and asked for where it could be two things."""

    layout: Annotated[
        str,
        Choices(LAYOUTS),
        Field(
            description="classes: every sub-folder is a class; splits: sub-folders for training and test hold the classes; "
            "names: file names begin with the class (cat.1.jpg); table: a CSV file or metadata.jsonl says the classes."
        ),
    ] = AUTO
    train: Annotated[Text, Field(description="The sub-folder, or the value in a table, that is trained on.")] = ""
    test: Annotated[Text, Field(description="The sub-folder, or the value in a table, that is tested on.")] = ""
    file_column: Annotated[Text, Field(description="The column of a table that names the files.")] = ""
    label_column: Annotated[Text, Field(description="The column of a table that holds the classes.")] = ""
    follow_links: Annotated[
        bool,
        Field(
            description="Follow links out of the folder and links to folders. Whoever made them chooses what is read; images "
            "that are reached twice count twice."
        ),
    ] = False
    max_megapixels: Annotated[
        float,
        Field(ge=0, le=10**5, description="Largest image in millions of pixels (each takes 3 bytes); 0: Pillow's limit, 89."),
    ] = 0.0

    @property
    def limits(self) -> Limits:
        """How its pictures are opened."""
        return Limits(pixels=round(self.max_megapixels * 10**6))


USUAL_READING = Reading()
