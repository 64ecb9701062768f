"""PEPITA: the error enters with the input of a second forward pass."""
