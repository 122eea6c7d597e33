"""Who did what."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from service.api.dependencies import AuditDep, Parameters
from service.api.documentation import problems
from service.jobs.access import AuditList, AuditRead

router = APIRouter(prefix="/v1/audit", tags=["access"])


class AuditParameters(Parameters):
    subject: str | None = Field(default=None, min_length=1, max_length=200)
    """only what was done to this job, data set, webhook or key"""
    limit: int = Field(default=50, ge=1, le=200)
    before: int | None = Field(default=None, ge=1, le=2**63 - 1)
    """next_before of the page before"""


@router.get("", responses=problems(_422="a parameter is not valid"))
def get_audit(parameters: Annotated[AuditParameters, Query()], audit: AuditDep) -> AuditList:
    """What clients did, newest first, by which key. Of a job that was deleted it is still here."""
    page = audit.page(limit=parameters.limit, before=parameters.before, subject=parameters.subject)
    entries = tuple(
        AuditRead(
            id=entry.entry_id,
            at=entry.at,
            key_id=entry.key_id,
            key_name=entry.key_name,
            action=entry.action,
            subject=entry.subject,
            details=entry.details,
        )
        for entry in page.entries
    )
    return AuditList(entries=entries, next_before=page.following)
