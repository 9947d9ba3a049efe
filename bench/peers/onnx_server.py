"""A picture and text embedding server as one is usually written in Python: FastAPI, ONNX Runtime, dynamic batching.

    python bench/peers/onnx_server.py --folder MODEL --onnx DIR --port 8081 --threads 2

One process: requests are parsed by uvicorn (uvloop, httptools where they are there), pictures decoded and resized by Pillow in a
pool of threads, items queued, and taken as many as wait (--max-batch at most, after --delay-ms at most) into one call
of ONNX Runtime in a thread of its own. It speaks what `limoe bench` sends to /v1/embeddings: {"input": [{"image": base64} or text]}.
Models are those that bench/run exports; texts, of fixed length there, need a CLIP folder's tokenizer.
"""

import argparse
import asyncio
import base64
import concurrent.futures
import io
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the tokenizer lies in the folder
BICUBIC = Image.Resampling.BICUBIC


class Pictures:
    """Bytes to what the model takes: fit and padded (limoe-1), or short side and centre, normalised (CLIP)."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        self.own = "format" in config
        if self.own:
            self.size, self.background = config["image"]["size"], tuple(config["image"].get("background", [255] * 3))
            return
        said = json.loads((folder / "preprocessor_config.json").read_text())
        self.size = config["vision_config"]["image_size"]
        self.mean = np.array(said["image_mean"], dtype=np.float32) * 255
        self.scale = 1 / (np.array(said["image_std"], dtype=np.float32) * 255)

    def __call__(self, encoded: bytes) -> np.ndarray:
        image = Image.open(io.BytesIO(encoded))
        image.draft("RGB", (self.size, self.size))  # a JPEG is decoded no larger than is needed
        image = image.convert("RGB")
        size, (width, height) = self.size, image.size
        if self.own:
            scale = size / max(width, height)
            small = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), BICUBIC)
            canvas = Image.new("RGB", (size, size), self.background)
            canvas.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
            return np.asarray(canvas)
        scale = size / min(width, height)
        image = image.resize((max(size, round(width * scale)), max(size, round(height * scale))), BICUBIC)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32)
        return ((pixels - self.mean) * self.scale).transpose(2, 0, 1)


class Texts:
    """By the folder's own tokenizer, padded as CLIP pads."""

    def __init__(self, folder: Path, tokens: int):
        import transformers

        self.tokenizer, self.tokens = transformers.AutoTokenizer.from_pretrained(folder), tokens

    def __call__(self, text: str) -> np.ndarray:
        ids = self.tokenizer(text, padding="max_length", truncation=True, max_length=self.tokens)["input_ids"]
        return np.array(ids, dtype=np.int64)


class Batcher:
    """Items of one kind that wait, and a task that takes what waits into a call of the model."""

    def __init__(self, path: Path, threads: int, most: int, delay: float):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.most, self.delay, self.queue = most, delay, asyncio.Queue()
        self.thread = concurrent.futures.ThreadPoolExecutor(1)

    async def embed(self, item: np.ndarray) -> np.ndarray:
        future = asyncio.get_running_loop().create_future()
        await self.queue.put((item, future))
        return await future

    async def take(self) -> list:
        batch, loop = [await self.queue.get()], asyncio.get_running_loop()
        end = loop.time() + self.delay
        while len(batch) < self.most:
            try:
                batch.append(self.queue.get_nowait())
            except asyncio.QueueEmpty:
                if (left := end - loop.time()) <= 0:
                    break
                try:
                    batch.append(await asyncio.wait_for(self.queue.get(), left))
                except TimeoutError:
                    break
        return batch

    async def run(self) -> None:
        while True:
            batch = await self.take()
            x = np.stack([item for item, _ in batch])
            try:
                z = await asyncio.get_running_loop().run_in_executor(self.thread, self.session.run, None, {"x": x})
                z = z[0] / np.linalg.norm(z[0], axis=1, keepdims=True)
            except Exception as error:  # noqa: BLE001 - all of the batch are told
                for _, future in batch:
                    if not future.cancelled():
                        future.set_exception(error)
                continue
            for (_, future), row in zip(batch, z):
                if not future.cancelled():
                    future.set_result(row)


def make_app(args) -> FastAPI:
    name = args.folder.name
    pictures = Pictures(args.folder)
    texts = Texts(args.folder, args.tokens) if (args.folder / "vocab.json").exists() else None
    pool = concurrent.futures.ThreadPoolExecutor(args.decoders)

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.image = Batcher(args.onnx / "image-gathered.onnx", args.threads, args.max_batch, args.delay_ms / 1e3)
        tasks = [asyncio.create_task(app.state.image.run())]
        if texts:
            path = args.onnx / f"text-gathered-{args.tokens}.onnx"
            app.state.text = Batcher(path, args.threads, args.max_batch, args.delay_ms / 1e3)
            tasks.append(asyncio.create_task(app.state.text.run()))
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(lifespan=lifespan)

    async def embed(item) -> np.ndarray:
        if isinstance(item, str):
            if texts is None:
                raise HTTPException(400, "this model's texts are not served")
            return await app.state.text.embed(texts(item))
        loop = asyncio.get_running_loop()
        encoded = base64.b64decode(item["image"])
        return await app.state.image.embed(await loop.run_in_executor(pool, pictures, encoded))

    @app.get("/v1/models")
    async def listed() -> dict:
        return {"object": "list", "data": [{"id": name, "object": "model"}]}

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok"}

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        items = orjson.loads(await request.body())["input"]
        rows = await asyncio.gather(*map(embed, items if isinstance(items, list) else [items]))
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
        answer = orjson.dumps({"object": "list", "data": data, "model": name}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(answer, media_type="application/json")

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True, help="of ONNX Runtime")
    parser.add_argument("--decoders", type=int, default=4, help="threads that decode pictures")
    parser.add_argument("--tokens", type=int, default=16, help="of a text, as it was exported")
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--delay-ms", type=float, default=2)
    args = parser.parse_args()
    uvicorn.run(make_app(args), host="127.0.0.1", port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    sys.exit(main())
