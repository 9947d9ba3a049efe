"""LiteLLM's rerank, through its providers: each sends another server's shape."""

import litellm
import pytest

KEY = "a-key-of-no-meaning"


def rerank(server, provider, **more):
    return litellm.rerank(model=f"{provider}/pictograms", query="cat", documents=["dog", "cat"], api_base=server.url, api_key=KEY, **more)


@pytest.mark.parametrize("provider", ["cohere", "infinity", "hosted_vllm", "jina_ai", "together_ai", "huggingface"])
def test_the_best_comes_first(server, provider):
    # Its reader for Infinity takes documents that are strings, all others {"text": …}: both send the same body.
    more = {"return_documents": False} if provider == "infinity" else {}
    results = rerank(server, provider, top_n=2, **more).results
    if not more and results[0].get("document"):
        assert results[0]["document"] == {"text": "cat"}
    assert [one["index"] for one in results] == [1, 0]
    assert results[0]["relevance_score"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("provider", ["cohere", "infinity", "hosted_vllm", "jina_ai", "together_ai"])
def test_the_client_shows_what_is_wrong(server, provider):
    with pytest.raises(Exception, match="top_n must be a whole number, 1 or more"):
        rerank(server, provider, top_n=-1)
