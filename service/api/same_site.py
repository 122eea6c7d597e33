"""A browser may post from the service's own pages alone: a foreign page could make it submit or cancel jobs."""

from urllib.parse import urlsplit

from fastapi import Depends, Request

from service.errors import ServiceError


class CrossSiteRequest(ServiceError):
    """A browser sent what a page of another site had it send."""

    status = 403
    title = "The request came from another site"


async def refuse_cross_site(request: Request, *, is_browser: bool = False) -> None:
    """Let through what the browser says came from here, and clients that say nothing unless they are browsers.

    Raises:
        CrossSiteRequest: Sec-Fetch-Site or, where a browser leaves it out, Origin names another site; or a browser
            sends neither.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise CrossSiteRequest(f"a page elsewhere ({site}) sent this; send it from this service's own pages")
        return
    origin = request.headers.get("origin")
    if origin is None and is_browser:
        raise CrossSiteRequest("the browser does not say which page sent this; send it from this service's own pages")
    if origin is not None and _host(origin) != request.headers.get("host", "").lower():
        raise CrossSiteRequest(f"{origin} sent this; send it from this service's own pages")


def _host(origin: str) -> str | None:
    """Host and port; None of what is no address, which therefore is another site."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # such as http://[x
        return None


async def _refuse_cross_site(request: Request) -> None:
    await refuse_cross_site(request)


SAME_SITE = Depends(_refuse_cross_site)
