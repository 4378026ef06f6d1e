"""Where weights come from: files read, checked and translated."""
