"""Speed and memory of the stages, measured side by side in one run."""
