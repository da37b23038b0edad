"""Training a generator from scratch, on a small folder of digits."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from actgen.data.datasets.imageset import to_pixels
from actgen.data.datasets.sources import load_data
from actgen.finetune import tiny
from actgen.finetune.autoencoder import encode, to_unit, whiten
from actgen.finetune.scratch import from_scratch


def train(data: Path, out: Path, stop_after: str | None = None) -> None:
    for progress in from_scratch(load_data(str(data)).train, out, steps=3, autoencoder_steps=3):
        if progress.stage == stop_after and progress.tick.step == progress.tick.steps:
            return


def test_stopped_after_any_stage_gives_the_same_weights(digits: Path, tmp_path: Path) -> None:
    train(digits, tmp_path / "whole")
    for stage in ("autoencoder", "features", "decoder", "denoiser"):
        train(digits, tmp_path / "stopped", stop_after=stage)
        assert not (tmp_path / "stopped").exists()
    train(digits, tmp_path / "stopped")
    weights = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.safetensors"))
    assert len(weights) == 3
    for path in weights:
        one, other = load_file(tmp_path / "whole" / path), load_file(tmp_path / "stopped" / path)
        assert all(torch.equal(one[name], other[name]) for name in one), path
    facts = json.loads((tmp_path / "whole" / "training.json").read_text(encoding="utf-8"))
    assert set(facts["wall_seconds"]) == {"autoencoder", "features", "decoder", "denoiser"}
    for name in ("README.md", "loss.png", "samples.png", "model_index.json"):
        assert (tmp_path / "whole" / name).is_file()


def test_whitening_changes_latents_and_not_pictures(digits: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        vae = tiny.build_autoencoder().eval()
    pixels = to_pixels(load_data(str(digits)).train, 32)
    with torch.no_grad():
        before = vae.decode(vae.encode(to_unit(pixels[:8])).latent_dist.mean).sample
        whiten(vae, pixels)
        after = vae.decode(vae.encode(to_unit(pixels[:8])).latent_dist.mean).sample
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    mean, deviation = encode(vae, pixels)
    generated = mean + deviation * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(generated.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(generated.std(dim=(0, 2, 3)), torch.ones(4), atol=0.05, rtol=0)
