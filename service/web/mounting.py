"""Where the pages join the application."""

from fastapi import FastAPI

from service.web import dataset_pages, job_actions, job_pages, list_page, model_pages, sign_in, submit_page
from service.web.page_scope import PageScope
from service.web.static_files import StaticFolder


def mount(app: FastAPI) -> None:
    """Add the pages, their static files, and what browsers need around them.

    Call it after all other middleware was added: the pages' own headers are set last, outside of everything.
    """
    for room in (list_page, submit_page, job_pages, job_actions, model_pages, dataset_pages, sign_in):
        app.include_router(room.router)
    app.mount("/static", StaticFolder(), name="static")
    app.add_middleware(PageScope)
