"""The entry point of Azure Functions (Python, model v2)."""

import azure.functions as func

from efss_transfer.runtimes import buffered

# Azure's load balancer closes a request after that long, whatever functionTimeout says.
SECONDS = 230.0
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{*path}")
def transfer(req: func.HttpRequest) -> func.HttpResponse:
    """Answer any request to the service."""
    path = "/" + req.route_params.get("path", "")
    status, headers, body = buffered.answer(
        req.method, path, req.headers, req.get_body(), seconds=SECONDS
    )
    return func.HttpResponse(body, status_code=status, headers=headers)
