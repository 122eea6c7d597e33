"""What can go wrong while the embedded service starts, runs or stops."""


class EmbeddedError(Exception):
    """The embedded service cannot start or go on; the message says why and what to do."""


class AlreadyRunning(EmbeddedError):
    """Another process keeps the service up in this home folder."""
