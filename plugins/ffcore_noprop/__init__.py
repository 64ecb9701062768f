"""NoProp: blocks that each learn to denoise a label, without the output of another block."""
