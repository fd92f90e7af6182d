"""Losses, schedules, augmentation, patches and the training loop."""
