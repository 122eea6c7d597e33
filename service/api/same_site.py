"""A browser may post from the service's own pages alone: a foreign page could make it submit or cancel jobs."""

from urllib.parse import urlsplit

from fastapi import Depends, Request

from service.errors import ServiceError


class CrossSiteRequest(ServiceError):
    """A browser sent what a page of another site had it send."""

    status = 403
    title = "The request came from another site"


async def refuse_cross_site(request: Request) -> None:
    """Let through what the browser says came from here, and clients that are no browsers and say nothing.

    Raises:
        CrossSiteRequest: Sec-Fetch-Site or, where a browser leaves it out, Origin names another site.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise CrossSiteRequest(f"a page elsewhere ({site}) sent this; send it from this service's own pages")
        return
    origin = request.headers.get("origin")
    if origin is not None and _host(origin) != request.headers.get("host", "").lower():
        raise CrossSiteRequest(f"{origin} sent this; send it from this service's own pages")


def _host(origin: str) -> str | None:
    """Host and port; None of what is no address, which therefore is another site."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # such as http://[x
        return None


SAME_SITE = Depends(refuse_cross_site)
