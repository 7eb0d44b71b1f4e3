"""Every URL of the host link. Each but those of joining needs the token of the host that it names (rule HOST)."""

from __future__ import annotations

from holdfast.api.hosts import handlers, joining
from holdfast.api.http.faults import plain_fault
from holdfast.api.http.routes import HOST, JOINING, Facade, Route

ROUTES = (
    Route("GET", "/v1/authority", joining.authority_show, JOINING),
    Route("POST", "/v1/join", joining.join, JOINING),
    Route("POST", "/v1/{host_id}/certificate", joining.certificate_renew, HOST),
    Route("GET", "/v1/{host_id}/desired", handlers.desired_show, HOST, streams=True),
    Route("POST", "/v1/{host_id}/report", handlers.report_take, HOST),
    Route("POST", "/v1/{host_id}/consoles", handlers.consoles_take, HOST),
    Route("POST", "/v1/{host_id}/register", handlers.register, HOST),
    Route("POST", "/v1/{host_id}/lease", handlers.lease_grant, HOST),
    Route("GET", "/v1/{host_id}/images/{image_id}/file", handlers.image_file_show, HOST),
    Route("PUT", "/v1/{host_id}/images/{image_id}/file", handlers.image_file_take, HOST, streams=True),
    Route("POST", "/v1/{host_id}/images/{image_id}/failed", handlers.image_file_failed, HOST),
)

FACADE = Facade(name="hosts", mount="hosts", routes=ROUTES, fault=plain_fault)
RULES: dict[str, str] = {}
