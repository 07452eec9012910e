"""vLLM as the engine, for many who ask: a program of its own, in an environment of its own, that writes our orders.

It is asked with token ids and answers with token ids, so that prompts, voices, drafts and answers are those of the
builtin engine. It listens on a socket that this user alone can open, and sends no usage statistics.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from ditto_cli.errors import DittoError, InputError
from ditto_cli.model.policy.lora import Lora, contents, mix
from ditto_cli.serving.engine import Order, Parts, Token, ending, gone
from ditto_cli.store import make_private_folder, remove_tree, write_bytes

_BASE = "base"
_ADDRESS = "http://vllm"  # whatever: the socket says where
_ADAPTERS_AT_ONCE = 8
_VOICES = 64
_START_SECONDS = 900
_END_SECONDS = 30
_LOOK_SECONDS = 0.5
_SAFE = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
}


@contextmanager
def running_vllm(program: str, base: Path, *, max_rank: int, max_tokens: int, log: Path, is_cpu: bool) -> Iterator[str]:
    """The socket of a vLLM that runs until the block ends; it lies in a folder of ours alone.

    `max_rank` is one of vLLM's (`vllm_rank`). With `is_cpu` the base is held in fp32 and in a part of the memory, as
    the builtin engine does there.

    Raises:
        InputError: there is no such program.
        DiskError: there is no place for its output.
        DittoError: it ended, or does not answer for fifteen minutes.
    """
    make_private_folder(log.parent)
    write_bytes(log, b"")
    with tempfile.TemporaryDirectory(prefix="ditto-vllm-") as folder:  # not in the store: the path must be short
        address = str(Path(folder, "socket"))
        command = [
            *(program, "serve", str(base), "--served-model-name", _BASE, "--uds", address),
            *("--enable-lora", "--max-lora-rank", str(max_rank), "--max-loras", str(_ADAPTERS_AT_ONCE)),
            # Not the base's own sampling defaults, which cut and penalise.
            *("--generation-config", "vllm", "--max-model-len", str(max_tokens)),
            *(("--dtype", "float32", "--gpu-memory-utilization", "0.3", "--enforce-eager") if is_cpu else ()),
        ]
        environment = {**os.environ, **_SAFE}
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/"
                )
            except OSError as error:
                raise InputError(f"{program} cannot be run ({error.strerror}): say --vllm PATH.") from None
        try:
            _wait(process, address, log)
            yield address
        finally:
            try:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
            finally:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=address), base_url=_ADDRESS, timeout=5) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DittoError(f"vLLM ended with exit code {process.returncode}; {log} says why.")
            with suppress(httpx2.HTTPError):
                if Path(address).exists() and client.get("/health").status_code == 200:
                    return
            time.sleep(_LOOK_SECONDS)
    raise DittoError(f"vLLM does not answer after {_START_SECONDS // 60} minutes; {log} says why.")


class VllmEngine:
    """Gives orders to a running vLLM, in a thread of its own from `start` to `stop`.

    Args:
        folder: for the voices that it reads.
    """

    def __init__(self, socket: str, *, max_rank: int, stop_token_ids: Sequence[int], folder: Path) -> None:
        self._max_rank = max_rank
        self._stop_token_ids = sorted(stop_token_ids)
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        transport = httpx2.AsyncHTTPTransport(uds=socket, limits=httpx2.Limits(max_connections=None))
        self._client = httpx2.AsyncClient(base_url=_ADDRESS, transport=transport, timeout=None)
        self._loras: dict[str, Lora] = {}
        self._loaded: OrderedDict[Parts, str] = OrderedDict()  # voice -> its name there, the latest last
        self._orders: set[Order] = set()
        self._changing = asyncio.Lock()
        self._is_over = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="ditto-vllm", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End: whoever waits for a text is told."""

        async def end() -> None:
            self._is_over = True
            for order in list(self._orders):
                order.fail(ending())
            await self._client.aclose()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def submit(self, orders: Sequence[Order]) -> None:
        """Have texts written."""
        for order in orders:
            if self._is_over:
                order.fail(ending())
            else:
                asyncio.run_coroutine_threadsafe(self._write(order), self._loop)

    def has(self, key: str) -> bool:
        """Whether an adapter is at hand."""
        return key in self._loras

    def load(self, key: str, lora: Lora) -> None:
        """Have an adapter at hand."""
        self._loras[key] = lora

    def forget(self, key: str) -> None:
        """Let go of an adapter, with texts of it in the making."""
        asyncio.run_coroutine_threadsafe(self._forget(key), self._loop).result()

    async def _forget(self, key: str) -> None:
        self._loras.pop(key, None)
        for order in list(self._orders):
            if any(part == key for part, _ in order.voice):
                order.fail(gone())
        async with self._changing:
            for voice in [voice for voice in self._loaded if any(part == key for part, _ in voice)]:
                await self._unload(voice)

    async def _write(self, order: Order) -> None:
        self._orders.add(order)
        try:
            name = await self._name(order.voice)
            if not order.is_cancelled:
                await self._tokens(order, name)
        except httpx2.HTTPError as error:
            order.fail(DittoError(f"vLLM does not answer any more ({type(error).__name__})."))
        except Exception as error:  # whatever a library makes of it, nobody waits in vain
            order.fail(error)
        finally:
            self._orders.discard(order)

    async def _tokens(self, order: Order, name: str) -> None:
        asked = {
            "model": name,
            "prompt": list(order.prompt_ids),
            "max_tokens": order.max_tokens,
            "temperature": order.temperature,
            "top_p": order.top_p,
            "seed": order.seed,
            "stop_token_ids": self._stop_token_ids,
            "logprobs": 0,
            "return_token_ids": True,
            "stream": True,
        }
        last: tuple[int, float] | None = None  # told when it is known whether another one follows
        async with self._client.stream("POST", "/v1/completions", json=asked) as answer:
            if answer.status_code != 200:
                raise InputError(f"vLLM: {_problem(await answer.aread())}")
            async for line in answer.aiter_lines():
                if order.is_cancelled:  # leaving the stream ends it there, too
                    return
                choices = _event(line).get("choices") or [{}]
                logps = (choices[0].get("logprobs") or {}).get("token_logprobs") or []
                for token in zip(choices[0].get("token_ids") or [], logps, strict=False):
                    if last is not None:
                        order.on_token(Token(*last, None))
                    last = token
                finish = choices[0].get("finish_reason")
                if finish in ("stop", "length") and last is not None:
                    order.on_token(Token(*last, finish))
                    return
        raise DittoError("vLLM ended a text without a reason.")

    async def _name(self, voice: Parts) -> str:
        """What a voice is called there, after loading it if need be."""
        if not voice:
            return _BASE
        if voice not in self._loaded:
            async with self._changing:
                if voice not in self._loaded:
                    await self._load(voice)
        self._loaded.move_to_end(voice)
        return self._loaded[voice]

    async def _load(self, voice: Parts) -> None:
        if len(self._loaded) >= _VOICES:
            await self._unload(next(iter(self._loaded)))
        name = secrets.token_hex(8)
        folder = await asyncio.to_thread(self._write_voice, voice, name)
        content = {"lora_name": name, "lora_path": str(folder)}
        answer = await self._client.post("/v1/load_lora_adapter", json=content)
        if answer.status_code != 200:
            remove_tree(folder)
            raise InputError(f"vLLM cannot take this adapter: {_problem(answer.content)}")
        self._loaded[voice] = name
        if any(key not in self._loras for key, _ in voice):  # forgotten meanwhile
            await self._unload(voice)
            raise gone()

    async def _unload(self, voice: Parts) -> None:
        name = self._loaded.pop(voice)
        with suppress(httpx2.HTTPError):
            await self._client.post("/v1/unload_lora_adapter", json={"lora_name": name}, timeout=_END_SECONDS)
        remove_tree(self._folder / name)

    def _write_voice(self, voice: Parts, name: str) -> Path:
        """A voice as one adapter in PEFT's layout, where vLLM reads it, and reads it again when it has let go of it."""
        try:
            lora = mix([(self._loras[str(key)], strength) for key, strength in voice])
        except KeyError:
            raise gone() from None
        if lora.config.r > self._max_rank:
            raise InputError(
                f"This voice has rank {lora.config.r}, and vLLM was started for {self._max_rank}: start it anew."
            )
        folder = self._folder / name
        make_private_folder(folder)
        for file, data in contents(lora, _BASE, None).items():
            write_bytes(folder / file, data)
        return folder


def _event(line: str) -> Mapping[str, Any]:
    """What a line of server-sent events says; nothing at the end, and in empty lines."""
    data = line.removeprefix("data: ")
    if not line.startswith("data: ") or data == "[DONE]":
        return {}
    event: dict[str, Any] = json.loads(data)
    if "error" in event:
        raise DittoError(f"vLLM: {event['error'].get('message', 'it failed')}")
    return event


def _problem(body: bytes) -> str:
    """One line of an error's answer."""
    try:
        found = json.loads(body)
        return str(found.get("message") or found["error"]["message"]).splitlines()[0]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "it refused, and did not say why"
