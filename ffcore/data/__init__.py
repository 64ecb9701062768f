"""Readers of data sets, and the loader that makes batches of them on a device.

The readers need only numpy; `ffcore.data.loader` is the only module here that imports torch.
"""
