"""How a service refuses: by a status of the message table and one number."""

from __future__ import annotations

from monitor.services.messages import ServiceStatus

__all__ = ["Refused", "ServiceStatus"]


class Refused(Exception):
    """Ends the service under way; the normal world gets ``status`` and ``detail``."""

    def __init__(self, status: ServiceStatus, detail: int = 0) -> None:
        super().__init__(f"{status.name}, {detail}")
        self.status = status
        self.detail = detail
