"""infinity-emb's own server for a local CLIP folder, which also takes what `limoe bench` sends.

    python bench/peers/infinity_server.py --folder MODEL --port 8082

The routes, batching and model are infinity's (its PyTorch engine). Bodies of /v1/embeddings are rewritten before they reach
it: {"input": [{"image": base64}]} becomes a data URI with "modality": "image", which is its way to say the same.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", INFINITY_ANONYMOUS_USAGE_STATS="0", DO_NOT_TRACK="1")

import uvicorn  # noqa: E402
from infinity_emb import infinity_server  # noqa: E402
from infinity_emb.args import EngineArgs  # noqa: E402


def rewritten(body: bytes) -> bytes:
    asked = json.loads(body)
    items = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    if items and isinstance(items[0], dict) and "image" in items[0]:
        asked["input"], asked["modality"] = [f"data:image/png;base64,{item['image']}" for item in items], "image"
    return json.dumps(asked).encode()


class Rewriting:
    """ASGI: collects a body, passes on what is made of it."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/health":  # infinity's own lies elsewhere
            scope = {**scope, "path": "/v1/health", "raw_path": b"/v1/health"}
        if scope["type"] != "http" or scope["path"] != "/v1/embeddings":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        body, given = rewritten(body), False

        async def once():
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [(k, v) for k, v in scope["headers"] if k != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await self.app(scope, once, send)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--max-batch", type=int, default=32)
    args = parser.parse_args()
    engine = EngineArgs(
        model_name_or_path=str(args.folder), served_model_name=args.folder.name, engine="torch", device="cpu", dtype=args.dtype,
        batch_size=args.max_batch, model_warmup=False, bettertransformer=False,
    )  # fmt: skip
    app = infinity_server.create_server(engine_args_list=[engine], url_prefix="/v1")
    uvicorn.run(Rewriting(app), host="127.0.0.1", port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
