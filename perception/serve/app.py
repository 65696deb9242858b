"""The service as a web application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp

from perception.serve.access import Access
from perception.serve.answers import explain_errors
from perception.serve.guard import Guard
from perception.serve.page_routes import page_routes
from perception.serve.picture_routes import picture_routes
from perception.serve.service import Service
from perception.serve.work_routes import work_routes


def build_app(service: Service, access: Access) -> ASGIApp:
    """All routes behind the guard."""
    # No pages about the interface: they would load scripts from elsewhere.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    explain_errors(app)
    app.include_router(page_routes(service.served))
    app.include_router(picture_routes(service))
    app.include_router(work_routes(service))
    return Guard(app, access)
