"""Registered data sets: named once, read and counted by a worker, then used by their names."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from sdcn_core.config.data import Name
from service import submission
from service.api.dataset_schemas import describe_dataset, summarize_dataset
from service.api.dependencies import NO_PARAMETERS, DatasetName, DatasetsDep, Parameters
from service.api.documentation import problems
from service.api.same_site import SAME_SITE
from service.api.strict_json import StrictJsonRoute
from service.jobs.answers import DatasetList, DatasetRead
from service.jobs.data_specs import DatasetSpec

router = APIRouter(prefix="/v1/datasets", tags=["data sets"], route_class=StrictJsonRoute)


class ListParameters(Parameters):
    limit: int = Field(default=50, ge=1, le=200)
    cursor: Name | None = None
    """next_cursor of the page before"""


@router.post(
    "",
    status_code=202,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(
        _400="the body is no JSON",
        _403="another site sent it",
        _409="the name is taken",
        _413="the body is too large",
        _422="the data set is not valid",
    ),
)
def register_dataset(spec: DatasetSpec, datasets: DatasetsDep, response: Response) -> DatasetRead:
    """Register a data set. A job of kind check_data then reads it whole; until that has ended it is `checking`."""
    dataset = submission.register(datasets, spec)
    response.headers["Location"] = f"/v1/datasets/{dataset.name}"
    return describe_dataset(dataset)


@router.get("", responses=problems(_422="a parameter is not valid"))
def list_datasets(parameters: Annotated[ListParameters, Query()], datasets: DatasetsDep) -> DatasetList:
    """Registered data sets by name, a page at a time."""
    page = datasets.page(limit=parameters.limit, after=parameters.cursor)
    return DatasetList(datasets=tuple(map(summarize_dataset, page.datasets)), next_cursor=page.following)


@router.get("/{name}", dependencies=[NO_PARAMETERS], responses=problems(_404="no such data set"))
def get_dataset(name: DatasetName, datasets: DatasetsDep) -> DatasetRead:
    """A data set: whether it can be used, why not, and how many images and objects it has of each class and split."""
    return describe_dataset(datasets.get(name))


@router.post(
    "/{name}/check",
    status_code=202,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_403="another site sent it", _404="no such data set"),
)
def check_dataset(name: DatasetName, datasets: DatasetsDep) -> DatasetRead:
    """Have the data set read again, after its files have changed. While a check is due or at work, that one counts."""
    return describe_dataset(datasets.check_again(name))


@router.delete(
    "/{name}",
    status_code=204,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_403="another site sent it", _404="no such data set", _409="jobs that have not ended use it"),
)
def remove_dataset(name: DatasetName, datasets: DatasetsDep) -> None:
    """Forget the data set. Its files stay, and so do the jobs that used it: they have its source in their specs."""
    datasets.remove(name)
