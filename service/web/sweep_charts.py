"""A sweep's curves: the metric along each field that was searched."""

from service.jobs.study_results import CurvePoint, SweepResults
from service.web.charts.line_chart import Line, LineChart, line_chart
from service.web.headlines import is_share, metric_name


def sweep_charts(results: SweepResults) -> tuple[LineChart, ...]:
    """One chart for each field whose values are numbers; the others are in the trials' table."""
    charts = []
    for index, (path, points) in enumerate(results.curves.items()):
        line = _line(metric_name(results.metric), points)
        if line.points:
            charts.append(
                line_chart(
                    f"curve-{index}",
                    path,
                    [line],
                    x_label=path.rpartition(".")[2],
                    y_label="%" if is_share(results.metric) else "",
                    logarithmic_x=None,
                    in_percent=is_share(results.metric),
                    goal=results.goal,
                )
            )
    return tuple(charts)


def _line(name: str, points: tuple[CurvePoint, ...]) -> Line:
    known = [
        (float(point.value), point.measure.mean)
        for point in points
        if isinstance(point.value, int | float) and not isinstance(point.value, bool) and point.measure is not None
    ]
    return Line(name, tuple(sorted(known)))
