"""Widgets: build, show, emit."""
