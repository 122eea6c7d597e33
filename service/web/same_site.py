"""Only the service's own pages may post to it: a foreign page could make a visitor's browser submit or cancel jobs."""

from urllib.parse import urlsplit

from fastapi import Depends, Request

from service.errors import ServiceError


class CrossSiteRequest(ServiceError):
    """A browser sent a form that another site had shown."""

    status = 403
    title = "The form came from another site"


async def refuse_cross_site(request: Request) -> None:
    """Let through what the browser says came from here, and clients that are no browsers and say nothing.

    Raises:
        CrossSiteRequest: Sec-Fetch-Site or, where a browser leaves it out, Origin names another site.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise CrossSiteRequest(f"the form was sent from a page elsewhere ({site}); open it on this service")
        return
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise CrossSiteRequest(f"the form was sent from {origin}; open it on this service and send it from there")


SAME_SITE = Depends(refuse_cross_site)
