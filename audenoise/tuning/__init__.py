"""Searches with KerasTuner: hyperparameters → spec → network."""
