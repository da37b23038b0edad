"""What may bend one denoising step."""
