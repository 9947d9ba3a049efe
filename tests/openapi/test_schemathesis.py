"""Protects the document from saying what is not so: requests made of it, right and wrong ones, get an answer that it has,
and never 500. What boundaries and forbidden values suggest is tried of each operation, and
LIMOE_OPENAPI_EXAMPLES (default 25) requests that chance makes, the same ones each time."""

import os

import pytest
import schemathesis
from conftest import Server, b64, data_uri, key_file, picture, stop_cleanly
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.core.parameters import ParameterLocation

EXAMPLES = int(os.environ.get("LIMOE_OPENAPI_EXAMPLES", "25"))
KEY = "administration-0123456789"
PICTURES = st.sampled_from([picture(i, kind=kind) for i, kind in enumerate(("PNG", "JPEG", "GIF", "BMP", "WEBP"))])
BYTES = PICTURES | st.binary(max_size=64)
schemathesis.openapi.format("picture", PICTURES.map(b64) | PICTURES.map(data_uri) | st.text(max_size=20))
schemathesis.openapi.format("binary", BYTES)
schemathesis.openapi.media_type("application/x-ndjson", st.binary(max_size=64) | st.sampled_from([b'{"input":"a"}\n{', b'\n\n[]\n']))
schemathesis.openapi.media_type("image/png", BYTES, aliases=["image/*"])
# A right request may be refused, by what a schema cannot say: that a picture decodes, that prompts are not too many in all.
# Errors that are told of (503, 504, 507) are answers like others.
LEFT_OUT = ["positive_data_acceptance", "not_a_server_error"]


def no_fault(ctx, response, case):
    assert response.status_code != 500, response.text


def must_be_refused(case):
    """Whether what is wrong with a wrong request is read at all. Arguments and headers that nobody asks for are not, as
    everywhere on the web; and the query of a classification is read where the body is a picture."""
    location = case.meta.phase.data.parameter_location
    wrong = {where for where, info in case.meta.components.items() if info.mode.is_negative}
    if ParameterLocation.BODY in wrong and case.media_type != "application/json":
        return False  # all is text in a form, and bytes are bytes: what was wrong may be right by then
    if wrong & {ParameterLocation.BODY, ParameterLocation.PATH}:
        return True
    if location == ParameterLocation.HEADER:
        return case.meta.phase.data.parameter == "X-Request-Timeout-Ms"
    return location == ParameterLocation.QUERY and case.operation.path == "/v1/classifiers"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    admins, users = key_file(folder / "admin", KEY), key_file(folder / "api", "none-that-is-used-here")
    # Without dialects, which the document leaves out: with them POST / is no method too many.
    server = Server("--admin-keys-file", admins, "--api-keys-file", users, "--dialects", "none")
    yield server
    stop_cleanly(server)


@pytest.fixture(scope="module")
def document(running):
    return schemathesis.openapi.from_url(running.url + "/openapi.json", headers={"Authorization": f"Bearer {KEY}"})


schema = schemathesis.pytest.from_fixture("document")


@seed(13)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@schema.parametrize()
def test_what_is_answered(case):
    left_out = LEFT_OUT if must_be_refused(case) else [*LEFT_OUT, "negative_data_rejection"]
    case.call_and_validate(
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=120,
        additional_checks=[no_fault],
        excluded_checks=[CHECKS.get_one(name) for name in left_out],
    )
