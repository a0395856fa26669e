"""The entry point of Azure Functions (Python, model v2); all else is in efss_transfer."""

import azure.functions as func

from efss_transfer.runtimes import buffered

# Azure's load balancer gives up on an answer after that long, whatever functionTimeout says.
SECONDS = 230.0
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{*path}")
def transfer(req: func.HttpRequest) -> func.HttpResponse:
    """POST a transfer request, or GET what the service says of itself."""
    path = "/" + req.route_params.get("path", "")
    status, headers, body = buffered.answer(
        req.method, path, req.headers, req.get_body(), seconds=SECONDS
    )
    return func.HttpResponse(body, status_code=status, headers=headers)
