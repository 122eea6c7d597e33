from tests.service.conftest import quiet_log

__all__ = ["quiet_log"]
