"""The page, its runtime, and the graphs that it runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from perception.serve.answers import file_answer
from perception.serve.page_files import find_file, page_files, page_folder, runtime_files
from perception.serve.served_model import ServedModel


def page_routes(served: ServedModel) -> APIRouter:
    """Files that don't depend on the run."""
    routes, page = APIRouter(), page_folder()
    graphs = {"preparer.onnx": served.preparer, "decoder.onnx": served.decoder}

    @routes.get("/")
    def index(request: Request) -> Response:
        return file_answer(request, find_file(page_files(page), "index.html"))

    @routes.get("/favicon.ico")
    def no_icon() -> Response:
        return Response(status_code=204)  # Browsers ask for one, whatever the page says.

    @routes.get("/page/{name}")
    def page_file(request: Request, name: str) -> Response:
        return file_answer(request, find_file(page_files(page), name))

    @routes.get("/runtime/{name}")
    def runtime_file(request: Request, name: str) -> Response:
        return file_answer(request, find_file(runtime_files(page), name))

    @routes.get("/models/{name}")
    def graph(request: Request, name: str) -> Response:
        return file_answer(request, graphs.get(name))

    return routes
