"""The service's own pages: jobs, their live losses and results, a form to submit, models to try.

Rendered here from templates, without a build step and without any address but the service's own. They work without
script; with it, a running job's page renews itself.
"""

from service.web.mounting import mount

__all__ = ["mount"]
