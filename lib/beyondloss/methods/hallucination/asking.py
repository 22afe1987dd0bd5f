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
from jaxtyping import Float, Int
from torch import Tensor

from beyondloss.data import HubError
from beyondloss.methods.hallucination.kernels import loaded

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
    """A causal language model of `transformers`, from the hub or a local folder. Raises HubError.

    The prompt is read once for all its samples. Each request draws from a stream of its own, so its answers do not
    depend on what else is in the batch. An answer ends with the first line.
    """

    def __init__(
        self,
        name: str,
        revision: str | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch: int = 8,
    ):
        self.tokenizer, self.network = loaded(name, revision, "AutoModelForCausalLM", device)
        self.network.to(dtype)
        self.commit = getattr(self.network.config, "_commit_hash", None) or revision or "a local folder"
        self.name, self.device, self.batch = f"{name}@{self.commit}", device, batch
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "left"

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        start = time.perf_counter()
        inputs = self.tokenizer([self.text(r) for r in requests], padding=True, return_tensors="pt")
        drawn = self.continued(
            inputs["input_ids"].to(self.device), inputs["attention_mask"].to(self.device), requests
        )
        seconds = (time.perf_counter() - start) / len(requests)
        return [self.reply(rows, seconds) for rows in drawn]

    def text(self, request: Request) -> str:
        if not request.chat:
            return request.prompt + request.opening
        turn = [{"role": "user", "content": request.prompt}]
        try:
            said = self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        except ValueError as error:
            raise HubError(f"model {self.name} has no chat template: ask it with chat=False") from error
        return said + request.opening

    @torch.no_grad()
    def continued(
        self, tokens: Int[Tensor, "batch time"], mask: Int[Tensor, "batch time"], requests: Sequence[Request]
    ) -> list[Int[Tensor, "sample step"]]:
        """Tokens drawn after each prompt; after an answer's end they mean nothing."""
        sizes = {(r.samples, r.temperature, r.tokens) for r in requests}
        if len(sizes) > 1:
            raise ValueError("requests of one batch differ in samples, temperature or tokens")
        ((samples, temperature, steps),) = sizes
        uniform = torch.stack([uniforms(r.seed, r.prompt, samples, steps) for r in requests]).flatten(0, 1)
        uniform, position = uniform.to(self.device), (mask.cumsum(1) - 1).clamp(min=0)
        seen = self.network(input_ids=tokens, attention_mask=mask, position_ids=position, use_cache=True)
        cache, logits = seen.past_key_values, seen.logits[:, -1].repeat_interleave(samples, 0)
        cache.batch_repeat_interleave(samples)
        mask, position = (t.repeat_interleave(samples, 0) for t in (mask, position[:, -1:]))
        drawn, over = [], torch.zeros(len(logits), dtype=torch.bool, device=self.device)
        for step in range(steps):
            drawn.append(drawn_token(logits.float(), temperature, uniform[:, step]))
            over |= self.ends(drawn[-1])
            if over.all() or step == steps - 1:
                break
            mask, position = torch.cat([mask, torch.ones_like(mask[:, :1])], 1), position + 1
            seen = self.network(
                input_ids=drawn[-1][:, None],
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
            )
            logits = seen.logits[:, -1]
        return list(torch.stack(drawn, 1).cpu().split(samples))

    def ends(self, tokens: Int[Tensor, " row"]) -> Tensor:
        """Whether a token ends an answer: the end of the text, or of a line."""
        texts = self.tokenizer.batch_decode(tokens[:, None].tolist())
        ends = [
            t == self.tokenizer.eos_token_id or "\n" in s for t, s in zip(tokens.tolist(), texts, strict=True)
        ]
        return torch.tensor(ends, device=self.device)

    def reply(self, rows: Int[Tensor, "sample step"], seconds: float) -> Reply:
        texts, count = [], 0
        for row in rows:
            end = int(self.ends(row).int().argmax()) if self.ends(row).any() else len(row)
            count += min(end + 1, len(row))
            kept = self.tokenizer.decode(row[: end + 1].tolist(), skip_special_tokens=True)
            texts.append(kept.split("\n")[0].strip())
        return Reply(tuple(texts), count, seconds)


def uniforms(seed: int, prompt: str, samples: int, steps: int) -> Float[Tensor, "sample step"]:
    """Numbers in [0, 1) that belong to a prompt and a seed."""
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.rand(samples, steps, generator=generator)


def drawn_token(
    logits: Float[Tensor, "row vocabulary"], temperature: float, uniform: Float[Tensor, " row"]
) -> Int[Tensor, " row"]:
    """The token at which the cumulative probability passes `uniform`; the likeliest one at temperature 0."""
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = (logits / temperature).softmax(-1).cumsum(-1)
    return (
        torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:])
        .squeeze(1)
        .clamp(max=logits.shape[1] - 1)
    )


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
