"""Planes larger than the model's input: looked at in parts, answered as one."""
