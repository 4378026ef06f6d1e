"""Predictors: arrays and prompts in, masks out."""
