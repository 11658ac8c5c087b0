"""A report on Weights & Biases for each experiment: its table, and the curves, errors and faces of its runs."""

import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES, ERRORS
from headposekit.reporting.tables import Table

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report

CURVES = {"train/loss": "training loss", "val/mae": "held-out faces, mae (degrees)", "train/lr": "learning rate"}


def build_report(experiment: str, table: Table, project: str) -> "Report":
    """A report that nothing has been asked of W&B for.

    What the rows of the table were trained to is a set of runs under their name; without any, all runs of the experiment's
    group are one. Evaluations, of published weights for instance, are another, beside the test sets. Raises InputError where
    wandb-workspaces is not installed.
    """
    try:
        from wandb_workspaces import expr
        from wandb_workspaces.reports import v2 as wr
    except ImportError as error:
        raise InputError("a W&B report needs wandb-workspaces; pip install -e '.[dashboards]'") from error

    trained: dict[tuple[str, ...], list[str]] = {}  # rows that differ in their test set share their trainings
    for row in table.rows:
        if row.checkpoints:
            trained.setdefault(tuple(path.parents[1].name for path in row.checkpoints), []).append(row.label)
    groups = [
        wr.Runset(name=name, filters=[expr.Config("train_id").isin(list(ids))], groupby=["group"])  # seeds together
        for ids, name in zip(trained, _names(list(trained.values())), strict=True)
    ] or [wr.Runset(name=experiment, filters=[expr.Metric("Group") == experiment, expr.Metric("JobType") == "train"])]
    evaluations = wr.Runset(name="evaluations", filters=[expr.Metric("JobType") == "evaluate"])
    blocks: list[Any] = [wr.MarkdownBlock(table.markdown(("published", "last", "difference", "seeds", "n")))]
    for column, name in dict.fromkeys(pair for row in table.rows for pair in row.tested_as.items()):
        title = table.test_sets[column] + (f", {name}" if name != column else "")
        panels = [
            wr.BarPlot(title=f"{title}: {error} (degrees)", metrics=[wr.SummaryMetric(f"test/{name}/last/{error}")])
            for error in ERRORS
        ]
        panels.append(wr.MediaBrowser(title=f"{title}: predicted (thick) and true (thin)", media_keys=[f"examples_{name}"]))
        tables = [f"predictions/{name}", *(f"error_by_angle/{name}/{angle}_table" for angle in ANGLES)]
        panels += [wr.WeavePanelSummaryTable(table_name=key) for key in tables]
        blocks += [wr.H2(title), wr.PanelGrid(runsets=[*groups, evaluations], panels=panels)]
    curves = [wr.LinePlot(title=title, x="epoch", y=[key], title_y=title) for key, title in CURVES.items()]
    blocks += [wr.H2("Training"), wr.PanelGrid(runsets=groups, panels=[*curves, wr.RunComparer(diff_only="split")])]
    return wr.Report(
        entity="", project=project, title=table.title, description=f"experiments={experiment}", blocks=blocks, width="fluid"
    )


def _names(labels: Sequence[Sequence[str]]) -> list[str]:
    """A name for each list of labels: what its labels begin with or, where that says too little, the first of them."""
    names = []
    for several in labels:
        parts = zip(*(label.split(", ") for label in several), strict=False)
        names.append(", ".join(part[0] for part in itertools.takewhile(lambda part: len(set(part)) == 1, parts)))
    return [name if name and names.count(name) == 1 else several[0] for name, several in zip(names, labels, strict=True)]


def specification(report: "Report") -> dict[str, Any]:
    """What would be sent, as plain containers."""
    model = report._to_model()  # the library's own way to what `save` sends
    spec: dict[str, Any] = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"title": model.display_name, "description": model.description, "project": report.project, "spec": spec}


def upload(report: "Report", entity: str | None) -> str:
    """Save the report on W&B and return its address; InputError where there is no account or connection, or W&B refuses."""
    import wandb

    try:
        report.entity = entity or wandb.Api().default_entity or ""
        report.save()
    except Exception as error:  # of wandb, of its transport, of its server's answers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"W&B did not take the report ({reason}); run `wandb login`, then the same command again") from error
    return str(report.url)
