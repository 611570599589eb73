"""Log what a search has found so far, however it ended: table, page, picture, numbers, description."""

import time
from collections.abc import Sequence

from tracked.analysis.confirmation import Confirmation
from tracked.analysis.trials import Trial
from tracked.console.dimensions import Choice, Dimension
from tracked.console.lines import one_line, warn
from tracked.console.search_parameters import SearchParameters
from tracked.reports import confirmation_lines, search_page, search_report
from tracked.reports.csv_table import write_csv
from tracked.reports.search_plots import draw_search
from tracked.reports.search_scale import Axis
from tracked.runs.schema import SEARCH_PAGE, SEARCH_PICTURE, TRIALS_TABLE
from tracked.runs.writer import Run


def log_search(
    run: Run,
    parameters: SearchParameters,
    experiment_id: str,
    trials: Sequence[Trial],
    confirmation: Confirmation | None,
) -> None:
    """Queue the report of a search. A file that cannot be written is a warning: it must not hide what ended the search.

    Args:
        trials: all that have begun; running ones are shown as far as they are.
        confirmation: None as long as nothing is decided.
    """
    monitor, direction, space = parameters.monitor, parameters.direction, parameters.search_space
    verdict = confirmation_lines.describe_confirmation(confirmation, monitor) if confirmation else ""
    try:
        run.set_description(search_report.describe(trials, space.names, monitor, direction, experiment_id, verdict))
        metrics = search_report.count_metrics(trials, direction)
        run.log_metrics(metrics, round(time.time() * 1000), step=0)
        write_csv(search_report.write_table(trials), run.folder / TRIALS_TABLE)
        run.log_artifact(run.folder / TRIALS_TABLE)
        axes = [make_axis(dimension) for dimension in space.dimensions]
        rows = list_confirmations(confirmation) if confirmation else []
        page = search_page.render_search(parameters.run_name, trials, axes, monitor, direction, rows, verdict)
        (run.folder / SEARCH_PAGE).write_text(page)
        run.log_artifact(run.folder / SEARCH_PAGE)
        run.log_figure(draw_search(trials, monitor, direction), SEARCH_PICTURE)
    except Exception as error:  # such as a full disk
        warn(f"some tables or plots of the search could not be written ({one_line(error)})")


def make_axis(dimension: Dimension) -> Axis:
    """Make the page's axis of a searched parameter."""
    if isinstance(dimension, Choice):
        return Axis(dimension.name, choices=dimension.options)
    return Axis(dimension.name, dimension.low, dimension.high, dimension.is_log)


def list_confirmations(confirmation: Confirmation) -> list[search_page.Confirmation]:
    """List what was trained with new seeds, for the page."""
    return [
        search_page.Confirmation(confirmation_lines.name(one), list(one.values), list(one.values.values()), one.mean)
        for one in (*confirmation.candidates, confirmation.defaults)
    ]
