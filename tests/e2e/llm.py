"""A stand-in for a language model's server: it answers as vLLM, Ollama or llama.cpp do, or in any other way that a test says."""

import json
import socket
import threading
import time

STYLES = ("vllm", "ollama", "llama.cpp")
TIMINGS = {"cache_n": 30, "prompt_n": 1, "prompt_ms": 12.5, "predicted_n": 2, "predicted_ms": 9.75}  # llama.cpp's


def chat(style, model, content, finish="stop"):
    """A chat's answer with the members that the server of this style has."""
    usage = {"prompt_tokens": 31, "completion_tokens": 2, "total_tokens": 33}
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
    if style == "vllm":
        message.update(refusal=None, annotations=None, audio=None, function_call=None, tool_calls=[], reasoning_content=None)
        choice.update(logprobs=None, stop_reason=None)
        usage.update(prompt_tokens_details=None)
        answer.update(service_tier=None, system_fingerprint=None, prompt_logprobs=None, kv_transfer_params=None)
    elif style == "ollama":
        answer.update(system_fingerprint="fp_ollama")
    else:
        usage.update(prompt_tokens_details={"cached_tokens": 30})
        answer.update(system_fingerprint="b1-abc", timings=TIMINGS)
    return answer


def completion(style, model, content):
    answer = chat(style, model, content)
    (choice,) = answer["choices"]
    choice["text"] = choice.pop("message")["content"]
    return {**answer, "id": "cmpl-1", "object": "text_completion"}


def events(style, model, words, usage=False):
    """The events of a chat that is streamed, a word each, as the server of this style sends them; `usage`: it was asked for."""
    about = {key: value for key, value in chat(style, model, "").items() if key not in ("choices", "usage", "timings")}
    about["object"] = "chat.completion.chunk"

    def event(delta, finish=None, **more):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {**about, "choices": [{**choice, "logprobs": None} if style == "vllm" else choice], **more}

    first = {"role": "assistant", "content": {"vllm": "", "ollama": words[0], "llama.cpp": None}[style]}
    listed = [event(first), *[event({"content": word}) for word in (words[1:] if style == "ollama" else words)]]
    timings = {"timings": TIMINGS} if style == "llama.cpp" else {}
    listed.append(event({}, "stop", **({} if usage else timings)))
    if usage:
        listed.append({**about, "choices": [], "usage": chat(style, model, "")["usage"], **timings})
    return written(style, listed)


def completion_events(model, words):
    """Those of a completion, as llama.cpp's server sends them: the last one says no word, why it ends, and the usage."""
    about = completion("llama.cpp", model, "")
    told = {key: about.pop(key) for key in ("usage", "timings")}

    def event(word, finish=None, **more):
        return {**about, "choices": [{"text": word, "index": 0, "logprobs": None, "finish_reason": finish}], **more}

    return written("llama.cpp", [*map(event, words), event("", "stop", **told)])


def written(style, listed):
    """Events as bytes, and the end."""
    end = "\r\n" if style == "ollama" else "\n"
    lines = [f"data: {json.dumps(one, ensure_ascii=False)}{end}{end}" for one in listed]
    if style == "llama.cpp":
        lines.insert(1, ": still here\n\n")
    return [*(line.encode() for line in lines), f"data: [DONE]{end}{end}".encode()]


def stream_head(*headers):
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream; charset=utf-8", "Transfer-Encoding: chunked", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(pieces):
    """An answer that is streamed, whole."""
    return stream_head() + b"".join(map(chunk, pieces)) + chunk(b"")


def head(status=200, length=None, headers=()):
    lines = [f"HTTP/1.1 {status} A", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {length}"] if length is not None else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body, status=200, headers=()):
    """An answer as bytes; `body` is bytes or becomes JSON."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, len(body), headers) + body


class Llm:
    """`answers` are bytes, or functions that are given the connection, one after the other and the last for ever; none: as `style`
    does, with `content`. `context`: of TLS."""

    def __init__(self, style="vllm", content="A cat.", context=None):
        self.style, self.content, self.answers = style, content, []
        self.context = context
        self.requests, self.heads = [], []
        self.opened = self.closed = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def begin_anew(self):
        """Answers as usual, and nothing was asked yet."""
        self.style, self.content, self.answers = "vllm", "A cat.", []
        self.requests.clear()
        self.heads.clear()

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def open(self):
        return self.opened - self.closed

    def options(self, *more):
        return ["--llm-url", self.url, "--llm-model", "smol", *more]

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.opened += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            while self.serve_one(connection):
                pass
        except OSError:
            pass
        finally:
            connection.close()
            self.closed += 1

    def serve_one(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        lines, body = data.split(b"\r\n\r\n", 1)
        path = lines.split()[1].decode()
        headers = dict(line.decode().lower().split(": ", 1) for line in lines.split(b"\r\n")[1:])
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65536)
        asked = json.loads(body)
        self.heads.append(headers)
        self.requests.append((path, asked))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] if self.answers else self.usual(path, asked)
        if callable(answer):
            answer(connection)
            return False
        connection.sendall(answer)
        return True

    def usual(self, path, asked):
        if asked.get("stream"):
            return stream(events(self.style, asked["model"], [self.content]))
        write = {"/v1/chat/completions": chat, "/v1/completions": completion}[path]
        return whole(write(self.style, asked["model"], self.content))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)  # or a thread that accepts would take one connection more
        self.socket.close()


# ---- ways to fail


def hold(connection):
    """Answers nothing until the other side lets go."""
    connection.settimeout(60)
    connection.recv(1)


def hang_up(connection):
    pass


def cut_off(connection):
    connection.sendall(head(length=1000) + b'{"choices":')


def endless_body(connection):
    connection.sendall(head(headers=["Transfer-Encoding: chunked"]))
    while True:
        connection.sendall(b"1000\r\n" + b" " * 0x1000 + b"\r\n")


def endless_head(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"A: " + b"a" * 1000 + b"\r\n")


def trickle(connection):
    connection.sendall(head(length=1000))
    while True:
        connection.sendall(b" ")
        time.sleep(0.1)
