"""Any training: stopped in time, kept at its best, resumed exactly, tracked with MLflow, compared, promoted."""

__version__ = "0.14.0"
