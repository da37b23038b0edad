"""A generator behind an images server: OpenAI's `/v1/images/generations`, which vLLM, LocalAI and others speak.

It generates by text alone. One picture a request is asked for, with the request's seed, and nothing is kept of an answer that
is not a whole picture of the size that was asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urldefrag
from urllib.request import Request as Call
from urllib.request import urlopen

import torch
from PIL import Image

from ..core.errors import UserError
from ..core.rows import GeneratorColumns
from ..core.text import brief, first_line, visible
from ..core.types import Request, Sample
from ..diffusion.guides.bank import MemoryBank
from .presets import SamplingConfig
from .sampler import FailedRequest, Sampler
from .sampling_context import NOTHING, SamplingContext

NATIVE = 1024  # pixels, where no other size is asked for
SECONDS = 300.0
LARGEST = 2**26  # bytes of an answer
SEEDS = 2**31
KEY = "OPENAI_API_KEY"


def is_server(generator: str) -> bool:
    """Whether a recipe's generator is the address of an images server."""
    return generator.startswith(("http://", "https://"))


@dataclass(frozen=True)
class ImagesServer:
    """An address such as `http://127.0.0.1:8000/v1`, after a # the model; without it the first that the server has.

    `seconds`: how long an answer may take. A key in the environment's OPENAI_API_KEY is sent along.
    """

    address: str
    seconds: float = SECONDS

    @property
    def base(self) -> str:
        """The address without the model."""
        return urldefrag(self.address).url.rstrip("/")

    def model(self) -> str:
        """Return the name of the model that answers."""
        if named := urldefrag(self.address).fragment:
            return named
        match self._ask("/models")[0]:
            case {"data": [{"id": str(name)}, *_]}:
                return name
        raise self._wrong("/models names no model", "Give one: ADDRESS#MODEL.")

    def engine(self) -> str:
        """Return what the server says of itself in its header, name and version; "" if nothing."""
        return self._ask("/models")[1].get("server", "").strip()

    def generate(self, model: str, prompt: str, seed: int, pixels: int) -> Image.Image:
        """Return one picture; `UserError` if the answer is none."""
        wanted = {
            "model": model,
            "prompt": prompt,
            "n": 1,
            "size": f"{pixels}x{pixels}",
            "response_format": "b64_json",
            "seed": seed % SEEDS,
        }
        match self._ask("/images/generations", wanted)[0]:
            case {"data": [{"b64_json": str(text)}]}:
                return self._picture(text, pixels)
        raise self._wrong("answered without one picture in data[0].b64_json", "Is it an images server?")

    def _picture(self, text: str, pixels: int) -> Image.Image:
        try:
            image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
            image.load()
        except (binascii.Error, ValueError, SyntaxError, OSError, Image.DecompressionBombError) as error:
            raise self._wrong(
                f"sent a picture that is damaged or cut off ({first_line(error)})", "Nothing was kept of it."
            ) from error
        if image.size != (pixels, pixels):
            size = "x".join(map(str, image.size))
            raise self._wrong(f"sent {size} pixels, not {pixels}x{pixels}", "Give loading.image_size as the model has it.")
        return image.convert("RGB")

    def _ask(self, path: str, body: Mapping[str, object] | None = None) -> tuple[object, dict[str, str]]:
        """Return the JSON of an answer, and its headers in small letters."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Call(self.base + path, data, headers), timeout=self.seconds) as answer:
                text = answer.read(LARGEST + 1)
                told = {name.lower(): value for name, value in answer.headers.items()}
        except HTTPError as error:
            said = brief(error.read(1000).decode(errors="replace").strip())
            raise self._wrong(
                f"answered {error.code} to {path}: {said}", "Check the model's name and what it takes."
            ) from error
        except TimeoutError as error:
            raise self._wrong(f"did not answer {path} within {self.seconds:g} seconds", "Is it busy?") from error
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise self._wrong(f"did not answer {path} within {self.seconds:g} seconds", "Is it busy?") from error
            raise self._wrong(f"cannot be asked for {path} ({first_line(error)})", "Is it running there?") from error
        if len(text) < int(told.get("content-length", len(text))) <= LARGEST:
            raise self._wrong(f"broke off its answer to {path}", "Nothing was kept of it.")
        if len(text) > LARGEST:
            raise self._wrong(f"sent more than {LARGEST // 2**20} MiB", "Ask for smaller pictures: loading.image_size.")
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"answered {path} with what is not JSON", "Is it an images server?") from error
        return found, told

    def _wrong(self, what: str, remedy: str) -> UserError:
        return UserError(f"the images server {visible(self.base)} {what}. {remedy}")


class ServedSampler(Sampler):
    """Generates unguided requests through an images server, one after the other."""

    def __init__(self, server: ImagesServer, sampling: SamplingConfig, pixels: int = 0) -> None:
        self.server, self.sampling, self.pixels = server, sampling, pixels or NATIVE
        self.bank, self.batch_size, self.failed = MemoryBank(), 1, list[FailedRequest]()
        self.model, self.engine = server.model(), server.engine()

    @property
    def facts(self) -> GeneratorColumns:
        """The generator's columns: the hash is of what the server says it is, since its weights are not here."""
        told = {"engine": self.engine, "model": self.model, "image_size": self.pixels}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return {"generator": f"{self.server.base}#{self.model}", "generator_hash": digest, "loading": told}

    def sample_batches(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[list[Sample]]:
        """Yield the pictures one by one, but for those that are done."""
        for request in requests:
            if request.guides or request.strength < 1.0:
                raise UserError(
                    f"strategy {request.strategy} guides images, which an images server does not. Take text-only, or a "
                    "generator that is a folder or hub id."
                )
        for request in requests:
            if request.key not in context.done:
                began = time.perf_counter()
                image = self.server.generate(self.model, request.prompt, request.seed, self.pixels)
                seconds = time.perf_counter() - began
                yield [Sample(request=request, image=image, latents=torch.empty(0), mask=None, seconds=seconds)]
