"""Reports on models and training runs, as one HTML page each."""

from .building import Material, build_report
from .facts import Subject, is_run, model_subject, run_subject

__all__ = ["Material", "Subject", "build_report", "is_run", "model_subject", "run_subject"]
