"""Processors: what job types there are, and what they take."""

from musproj.errors import NotFoundError, UnknownJobTypeError
from musproj.http import schemas
from musproj.http.operations import Api, Call, Reply

api = Api()


@api.op("GET", "/processors", id="listProcessors", tag="processors")
def list_processors(call: Call[None, None]) -> Reply[schemas.ProcessorList]:
    """List the processors of this installation."""
    return Reply(content=schemas.to_processors(call.mp.catalog.specs()))


@api.op("GET", "/processors/{name}", id="getProcessor", tag="processors", errors=(NotFoundError,))
def get_processor(call: Call[None, None]) -> Reply[schemas.Processor]:
    """Show a processor with the JSON Schema of its parameters."""
    try:
        processor = call.mp.catalog.get(call.path["name"])
    except UnknownJobTypeError as exc:
        # In a path the name is the resource, not a field of a request.
        raise NotFoundError(exc.message, hint=exc.hint) from exc
    return Reply(content=schemas.to_processor(processor.spec))
