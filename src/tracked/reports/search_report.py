"""temp"""


def format_value(v):
    return f"{v:.4g}" if isinstance(v, float) else str(v)


def format_line(trial, best, monitor):
    return f"trial {trial.number}: {trial.status} {trial.best} {trial.best_epoch} of {trial.epochs} {trial.seconds:.1f} s {trial.note}; best {best and best.number}"


def log_search(run, trials, confirmation, parameters):
    pass
