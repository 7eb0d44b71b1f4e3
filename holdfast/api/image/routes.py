"""Every URL of the image service, and its policy under Glance's own rule names.

A route's rule is checked against the caller's own project; handlers check it again against the image's owner.
"""

from __future__ import annotations

from holdfast.api.http.faults import glance_fault
from holdfast.api.http.policy import ADMIN, MEMBER, READER
from holdfast.api.http.routes import PUBLIC, Facade, Route
from holdfast.api.image import images, info, members, upload

_ANY_READER = "role:reader"  # what is visible is decided row by row

RULES = {
    "get_images": _ANY_READER,
    "get_image": _ANY_READER,
    "add_image": MEMBER,
    "modify_image": MEMBER,
    "delete_image": MEMBER,
    "publicize_image": ADMIN,
    "communitize_image": MEMBER,
    "upload_image": MEMBER,
    "download_image": _ANY_READER,
    "deactivate": MEMBER,
    "reactivate": MEMBER,
    "get_members": _ANY_READER,
    "get_member": _ANY_READER,
    "add_member": MEMBER,
    "modify_member": MEMBER,
    "delete_member": MEMBER,
    "get_tasks": ADMIN,
    "get_task": ADMIN,
    "tasks_api_access": ADMIN,
    "get_image_schema": _ANY_READER,
    "get_usage": READER,
    "get_stores_info": _ANY_READER,
}

_IMAGE = "/v2/images/{image_id}"
_MEMBER = _IMAGE + "/members/{member_id}"

ROUTES = (
    Route("GET", "/", info.versions_choose, PUBLIC),
    Route("GET", "/versions", info.versions_show, PUBLIC),
    Route("GET", "/v2/images", images.image_list, "get_images"),
    Route("POST", "/v2/images", images.image_create, "add_image"),
    Route("GET", _IMAGE, images.image_show, "get_image"),
    Route("PATCH", _IMAGE, images.image_change, "modify_image"),
    Route("DELETE", _IMAGE, images.image_delete, "delete_image"),
    Route("PUT", _IMAGE + "/file", upload.image_upload, "upload_image", streams=True),
    Route("GET", _IMAGE + "/file", upload.image_download, "download_image", streams=True),
    Route("PUT", _IMAGE + "/stage", info.import_refuse, "upload_image"),
    Route("POST", _IMAGE + "/import", info.import_refuse, "modify_image"),
    Route("POST", _IMAGE + "/actions/deactivate", images.image_deactivate, "deactivate"),
    Route("POST", _IMAGE + "/actions/reactivate", images.image_reactivate, "reactivate"),
    Route("PUT", _IMAGE + "/tags/{tag}", members.tag_add, "modify_image"),
    Route("DELETE", _IMAGE + "/tags/{tag}", members.tag_remove, "modify_image"),
    Route("GET", _IMAGE + "/members", members.members_show, "get_members"),
    Route("POST", _IMAGE + "/members", members.member_create, "add_member"),
    Route("GET", _MEMBER, members.member_show, "get_member"),
    Route("PUT", _MEMBER, members.member_change, "modify_member"),
    Route("DELETE", _MEMBER, members.member_remove, "delete_member"),
    Route("GET", "/v2/schemas/{schema}", info.schema_show, "get_image_schema"),
    Route("GET", "/v2/info/import", info.import_show, "get_images"),
    Route("GET", "/v2/info/stores", info.stores_show, "get_stores_info"),
    Route("GET", "/v2/info/usage", info.usage_show, "get_usage"),
    Route("GET", "/v2/tasks", info.tasks_show, "get_tasks"),
    Route("POST", "/v2/tasks", info.import_refuse, "tasks_api_access"),
    Route("GET", "/v2/tasks/{task_id}", info.task_show, "get_task"),
    Route("DELETE", "/v2/tasks/{task_id}", info.task_show, "get_task"),
)

FACADE = Facade(name="image", mount="image", routes=ROUTES, fault=glance_fault)
