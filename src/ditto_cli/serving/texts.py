"""The texts of one request: ordered from the engine, joined from its tokens, and the best of their drafts taken."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ditto_cli.errors import DittoError
from ditto_cli.evaluation.texts_at_hand import TextsAtHand
from ditto_cli.evaluation.types import Writing
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.serving.orders import Engine, Order, Token
from ditto_cli.serving.requests import Sampling
from ditto_cli.serving.streaming import TextStream
from ditto_cli.serving.voice_library import Speaker


@dataclass(frozen=True)
class Wanted:
    """What is written for a request.

    Attributes:
        sampling: as it was asked for.
        speaker: whose texts.
        prompt_ids: token ids of the prompt, with all that is shown before it.
        limit: most tokens of a text.
        prompt: the words that drafts are judged by.
        best_of: drafts of each text.
        texts: who chooses among them; None where there is one.
    """

    sampling: Sampling
    speaker: Speaker
    prompt_ids: tuple[int, ...]
    limit: int
    prompt: str
    best_of: int
    texts: TextsAtHand | None


class Draft:
    """One text as far as it has come."""

    def __init__(self, stream: TextStream) -> None:
        self.stream = stream
        self.tokens: list[Token] = []
        self.finish: str | None = None


class Texts:
    """Drafts in the making, whose tokens come from the engine's thread."""

    def __init__(self, engine: Engine, wanted: Wanted, chat: ChatFormat) -> None:
        self._engine = engine
        self._wanted = wanted
        sampling, speaker = wanted.sampling, wanted.speaker
        stops = [sampling.stop] if isinstance(sampling.stop, str) else sampling.stop or []
        seed = sampling.seed if sampling.seed is not None else secrets.randbits(32)
        num = sampling.n * wanted.best_of
        self._queue: asyncio.Queue[tuple[int, Token | Exception]] = asyncio.Queue()
        self.drafts = [Draft(TextStream(chat.tokenizer, stops)) for _ in range(num)]
        loop = asyncio.get_running_loop()

        def order(index: int) -> Order:
            def put(what: Token | Exception) -> None:
                loop.call_soon_threadsafe(self._queue.put_nowait, (index, what))

            return Order(
                prompt_ids=wanted.prompt_ids,
                voice=speaker.parts,
                max_tokens=wanted.limit,
                temperature=speaker.temperature if sampling.temperature is None else sampling.temperature,
                top_p=sampling.top_p,
                seed=(seed + index) % 2**63,
                on_token=put,
                on_error=put,
            )

        self._orders = [order(index) for index in range(num)]

    async def pieces(self) -> AsyncIterator[tuple[int, str, Token]]:
        """Index of a draft, new piece of it, and token, as they come, until all drafts have ended.

        Raises:
            DittoError: there is no text.
        """
        self._engine.submit(self._orders)
        while any(draft.finish is None for draft in self.drafts):
            index, token = await self._queue.get()
            if isinstance(token, Exception):
                raise token if isinstance(token, DittoError) else DittoError(f"It failed: {type(token).__name__}.")
            draft = self.drafts[index]
            if draft.finish is not None:
                continue
            draft.tokens.append(token)
            piece = draft.stream.feed(token.token_id, is_last=token.finish is not None)
            draft.finish = "stop" if draft.stream.is_stopped else token.finish
            if draft.finish is not None:
                self._orders[index].cancel()
            yield index, piece, token

    async def chosen(self) -> list[Draft]:
        """The texts, when all drafts have ended: of each group of drafts the best.

        Raises:
            DittoError: there is no text.
        """
        async for _ in self.pieces():
            pass
        texts, num = self._wanted.texts, self._wanted.best_of
        if texts is None:
            return self.drafts
        written = [
            Writing(self._wanted.speaker.title, "", 0, d.stream.sent, len(d.tokens), d.finish == "stop")
            for d in self.drafts
        ]
        chosen = []
        for start in range(0, len(written), num):
            best = await asyncio.to_thread(texts.best, self._wanted.prompt, written[start : start + num])
            chosen.append(self.drafts[start + best])
        return chosen

    def fail(self, error: DittoError) -> None:
        """End the wait for them."""
        self._queue.put_nowait((0, error))

    def cancel(self) -> None:
        """Nobody waits for them any more."""
        for order in self._orders:
            order.cancel()

    def usage(self) -> dict[str, int]:
        """Tokens of the prompt and of all drafts."""
        written = sum(len(draft.tokens) for draft in self.drafts)
        read = len(self._wanted.prompt_ids)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
