"""Speeds as ratios to peers in the same run, one question each file: ``python -m benchmarks.NAME``."""

from pipelines.process import prepare_process

prepare_process()  # as the command does, and before torch is imported
