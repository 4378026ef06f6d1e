"""What is read from napari's layers, and written to them."""
