"""Room 3: request -> latents -> image."""
