"""Ask language models many times, on this machine or through a server, and never ask the same thing twice.

A model is anything with a `name`, a `batch` size and `answer(requests)`. Every reply is written to a cache as it
comes, so a run that was stopped goes on where it was and repeats no call.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from beyondloss.data import HubError
from beyondloss.models import generation, language

ATTEMPTS, PATIENCE = 5, 2.0  # tries of a call to a server, and seconds before the second one


@dataclass(frozen=True)
class Request:
    """One prompt to be continued `samples` times. `chat` puts it into the model's chat template, `opening` begins the
    answer for it. Temperature 0 is greedy."""

    prompt: str
    samples: int = 1
    temperature: float = 1.0
    tokens: int = 16  # at most so many an answer
    chat: bool = True
    opening: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Reply:
    """The answers to a request, how many tokens they took together, and the seconds of its share of a batch."""

    texts: tuple[str, ...]
    tokens: int
    seconds: float


@runtime_checkable
class Model(Protocol):
    name: str
    batch: int  # requests at a time

    def answer(self, requests: Sequence[Request]) -> list[Reply]: ...


class ReplyCache:
    """Replies on disk, under a digest of what they depend on. Readers and writers may share the file.

    answered_by: the code that answers and what else is the same for all its models, such as the device.
    """

    def __init__(self, path: Path, answered_by: Sequence[str]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.answered_by = path, list(answered_by)
        with closing(sqlite3.connect(path, timeout=60)) as file, file:
            file.execute("create table if not exists replies (key text primary key, reply text not null)")

    def get(self, model: Model, request: Request) -> Reply | None:
        with closing(sqlite3.connect(self.path, timeout=60)) as file:
            row = file.execute(
                "select reply from replies where key = ?", [self.key(model, request)]
            ).fetchone()
        if row is None:
            return None
        texts, tokens, seconds = json.loads(row[0])
        return Reply(tuple(texts), tokens, seconds)

    def put(self, model: Model, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
        rows = [
            (self.key(model, request), json.dumps([list(reply.texts), reply.tokens, reply.seconds]))
            for request, reply in zip(requests, replies, strict=True)
        ]
        with closing(sqlite3.connect(self.path, timeout=60)) as file, file:
            file.executemany("insert or replace into replies values (?, ?)", rows)

    def key(self, model: Model, request: Request) -> str:
        parts = [self.answered_by, model.name, model.batch, asdict(request)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def ask(model: Model, requests: Sequence[Request], cache: ReplyCache) -> list[Reply]:
    """A reply to each request: from the cache, or from the model, whose replies are kept batch by batch."""
    known = {request: reply for request in requests if (reply := cache.get(model, request))}
    new = [request for request in dict.fromkeys(requests) if request not in known]
    for start in range(0, len(new), model.batch):
        batch = new[start : start + model.batch]
        replies = model.answer(batch)
        cache.put(model, batch, replies)
        known.update(zip(batch, replies, strict=True))
    return [known[request] for request in requests]


class OnThisMachine:
    """A causal language model of `transformers` by its spec. An answer ends with its first line. Raises HubError."""

    def __init__(self, spec: str, device: str = "cpu", dtype: torch.dtype = torch.float32, batch: int = 8):
        self.network, self.tokenizer = language.load(spec, dtype, device)
        self.name, self.batch = spec, batch

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply to each request; all are asked for as many samples and tokens, at one temperature and seed."""
        start = time.perf_counter()
        found = generation.generate(
            self.network, self.tokenizer, [self.text(r) for r in requests], sampling(requests), self.batch
        )
        seconds = (time.perf_counter() - start) / len(requests)
        return [
            Reply(tuple(one.text.strip() for one in samples), sum(one.tokens for one in samples), seconds)
            for samples in found
        ]

    def text(self, request: Request) -> str:
        if not request.chat:
            return request.prompt + request.opening
        return generation.chat_prompt(self.tokenizer, request.prompt, request.opening)


def sampling(requests: Sequence[Request]) -> generation.Sampling:
    """What requests that are answered together ask for in common. Raises ValueError where they differ."""
    kinds = {(r.tokens, r.temperature, r.samples, r.seed) for r in requests}
    if len(kinds) > 1:
        raise ValueError("requests of one batch differ in samples, temperature, tokens or seed")
    ((tokens, temperature, samples, seed),) = kinds
    return generation.Sampling(tokens, temperature, samples=samples, stop=("\n",), seed=seed)


class OnServer:
    """A model behind an OpenAI-compatible server (vLLM, llama.cpp, a commercial one): `POST url/chat/completions`.

    `api_key` is sent as a bearer token. A call that fails for want of time or room is tried again; what the server
    refuses is raised as HubError with its words.
    """

    batch = 1  # so that each reply is kept as it comes

    def __init__(self, url: str, model: str, api_key: str | None = None, timeout: float = 120.0):
        import httpx

        self.name, self.model = f"{url.rstrip('/')}|{model}", model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout)

    def __enter__(self) -> "OnServer":
        return self

    def __exit__(self, *failure) -> None:
        self.client.close()

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        return [self.one(request) for request in requests]

    def one(self, request: Request) -> Reply:
        start = time.perf_counter()
        path, asked = "/completions", {"prompt": request.prompt + request.opening}
        if request.chat:
            turns = [{"role": "user", "content": request.prompt}]
            turns += [{"role": "assistant", "content": request.opening}] if request.opening else []
            path, asked = "/chat/completions", {"messages": turns}
        asked |= {"model": self.model, "n": request.samples, "temperature": request.temperature}
        asked |= {"max_tokens": request.tokens, "seed": request.seed, "stop": ["\n"]}
        said = self.posted(path, asked)
        try:
            texts = [c["message"]["content"] if request.chat else c["text"] for c in said["choices"]]
            tokens = said.get("usage", {}).get("completion_tokens") or sum(len(t.split()) for t in texts)
        except (KeyError, TypeError) as error:
            raise HubError(f"{self.name} gave an answer without {error}: is it OpenAI-compatible?") from error
        if len(texts) != request.samples:
            raise HubError(
                f"{self.name} gave {len(texts)} of {request.samples} samples: it does not know `n`"
            )
        return Reply(tuple((text or "").strip() for text in texts), tokens, time.perf_counter() - start)

    def posted(self, path: str, asked: dict) -> dict:
        import httpx

        problem = "no answer"
        for wait in self.waits():
            time.sleep(wait)
            try:
                response = self.client.post(path, json=asked)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            problem = f"status {response.status_code}: {response.text[:200]}"
            if response.status_code == 429 or response.status_code >= 500:
                continue
            if response.is_success:
                return response.json()
            break
        raise HubError(
            f"{self.name} does not answer ({problem}): is the server up, and the model's name right?"
        )

    def waits(self) -> Iterator[float]:
        return (PATIENCE * 2 ** (attempt - 1) if attempt else 0.0 for attempt in range(ATTEMPTS))
