# SPDX-License-Identifier: Apache-2.0
"""What the load is compared with: Starlette answering a POST with a constant, its body read."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["app"]


async def _noop(request: Request) -> Response:
    await request.body()
    return JSONResponse({"data": {}})


app = Starlette(routes=[Route("/noop", _noop, methods=["POST"])])
