"""Stacks as videos: objects carried from frame to frame by what the model remembers."""
