"""Bring an image into model space: resampling, intensities, fingerprint and plan, all block by block."""
