"""Readers of image sets, and the loader that feeds them to a device.

The readers need numpy only; `ffcore.data.loader` is the one module here that imports torch.
"""
