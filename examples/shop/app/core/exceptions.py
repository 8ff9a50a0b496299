"""What can go wrong on purpose: each error has a code for programs, a message for people and an HTTP status."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class ShopError(Exception):
    status = 400
    code = "BAD_REQUEST"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFoundError(ShopError):
    status = 404
    code = "NOT_FOUND"


class ConflictError(ShopError):
    status = 409
    code = "CONFLICT"


class StaleVersionError(ConflictError):
    code = "STALE_VERSION"


class InsufficientStockError(ConflictError):
    code = "INSUFFICIENT_STOCK"


class OrderStateError(ConflictError):
    code = "ORDER_STATE"


class NotAuthenticatedError(ShopError):
    status = 401
    code = "AUTH_REQUIRED"


class InvalidTokenError(NotAuthenticatedError):
    code = "AUTH_INVALID_TOKEN"


class InvalidCredentialsError(NotAuthenticatedError):
    code = "AUTH_INVALID_CREDENTIALS"


class ShippingUnavailableError(ShopError):
    status = 503
    code = "SHIPPING_UNAVAILABLE"


def register_error_handlers(app: FastAPI) -> None:
    """Answer every error in the one envelope that clients know."""

    @app.exception_handler(ShopError)
    async def shop_error(request: Request, error: ShopError) -> JSONResponse:
        return _failure(error.status, error.code, error.message)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = "NOT_FOUND" if error.status_code == 404 else "HTTP_ERROR"
        return _failure(error.status_code, code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        details = [{"field": ".".join(map(str, fault["loc"][1:])), "message": fault["msg"]} for fault in error.errors()]
        return _failure(422, "VALIDATION_ERROR", "The request is not valid.", details=jsonable_encoder(details))


def _failure(status: int, code: str, message: str, **more: object) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"success": False, "error": {"code": code, "message": message, **more}}, status, headers)
