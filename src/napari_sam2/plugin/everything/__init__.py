"""Everything in an image, without a click: the model, the work and the layers of its dock."""
