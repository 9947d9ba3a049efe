"""KServe's client in both of its protocols, as it is."""

import asyncio

import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from test_triton import TEXTS, own


def ask(version, what):
    """What the coroutine function makes of a client, which is closed."""

    async def run():
        peer = InferenceRESTClient(RESTConfig(protocol=version, retries=0))
        try:
            return await what(peer)
        finally:
            await peer.close()

    return asyncio.run(run())


def test_what_is_told(server):
    """The first protocol has no readiness of a server, and refuses a name that is none."""
    for version in ("v1", "v2"):
        assert ask(version, lambda peer: peer.is_server_live(server.url)) is True
        assert ask(version, lambda peer: peer.is_model_ready(server.url, "pictograms")) is True
    assert ask("v2", lambda peer: peer.is_server_ready(server.url))
    assert not ask("v2", lambda peer: peer.is_model_ready(server.url, "nobody"))
    with pytest.raises(Exception, match="there is no model .*nobody"):
        ask("v1", lambda peer: peer.is_model_ready(server.url, "nobody"))


@pytest.mark.parametrize("binary", [False, True])
def test_texts_have_our_bits(server, client, binary):
    tensor = InferInput("text", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in TEXTS], np.object_), binary_data=binary)
    request = InferRequest("pictograms", [tensor], request_id="9")
    found = ask("v2", lambda peer: peer.infer(server.url, request, model_name="pictograms"))
    assert found.id == "9" and np.array_equal(found.outputs[0].as_numpy(), own(client, TEXTS))


def test_predictions(server, client):
    found = ask("v1", lambda peer: peer.infer(server.url, {"instances": TEXTS}, model_name="pictograms"))
    assert np.array_equal(np.array(found["predictions"], np.float32), own(client, TEXTS))


def test_the_client_shows_what_is_wrong(server):
    with pytest.raises(Exception, match="instances is empty; 1 to .* are accepted"):
        ask("v1", lambda peer: peer.infer(server.url, {"instances": []}, model_name="pictograms"))
