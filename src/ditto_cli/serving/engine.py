"""Who writes what is asked for, token by token; here one thread for all who ask, side by side in one batch.

Between two tokens those who have waited come in and those who have ended, or do not want theirs any more, leave: nobody
waits for another's end.

Legend: R rows, T tokens, K ranks of all adapters together.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ditto_cli.errors import DittoError, InputError
from ditto_cli.model.fast.slots import Slots, admit, advance, kept, packed_linears
from ditto_cli.model.policy.draws import Draw, draw_next
from ditto_cli.model.policy.lora import Lora, mix
from ditto_cli.model.policy.policy import Policy
from ditto_cli.types import SampledTokens, SampleRequest

MAX_SLOTS = 32
_NAMES = ("chorus", "chorus2")  # of the one adapter, by turns: the new one is there before the old one goes
MAX_ADAPTERS = 8  # in memory while nobody waits for the others: each adds its ranks to every pass

Parts = tuple[tuple[Hashable, float], ...]  # adapters by key, with their strengths; none is the base


@dataclass(frozen=True)
class Token:
    """One token of a text, as it was drawn; the last one says why it is the last: stop or length."""

    token_id: int
    logp: float
    finish: str | None


@dataclass(eq=False)
class Order:
    """One text that somebody asks for.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: tokens are drawn from the likeliest that have this share of the probability.
        is_cancelled: it is not wanted any more, and leaves before the next token.
    """

    prompt_ids: tuple[int, ...]
    voice: Parts
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    on_token: Callable[[Token], None]
    on_error: Callable[[Exception], None]
    is_cancelled: bool = field(default=False, init=False)

    @property
    def num_tokens(self) -> int:
        """Most tokens whose keys and values it takes."""
        return len(self.prompt_ids) + self.max_tokens

    def fail(self, error: Exception) -> None:
        """There is no text, or no more of it."""
        if not self.is_cancelled:
            self.is_cancelled = True
            with suppress(RuntimeError):  # who would be told is gone: its event loop is closed
                self.on_error(error)


class Engine(Protocol):
    """Who writes."""

    def start(self) -> None:
        """Begin to write."""

    def stop(self) -> None:
        """End; who waits for a text is told that there is none."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Write these as soon as there is room."""

    def has(self, key: str) -> bool:
        """Whether an adapter is at hand."""

    def load(self, key: str, lora: Lora) -> None:
        """Have an adapter at hand, perhaps in the place of one that was longest not asked for."""

    def forget(self, key: str) -> None:
        """Let go of an adapter at once, with all texts of it that are in the making."""


def gone() -> InputError:
    """The error of a text whose adapter was removed."""
    return InputError("This adapter was removed.")


def ending() -> DittoError:
    """The error of a text that was not written before the engine's end."""
    return DittoError("The server is ending.")


class Chorus:
    """Several adapters on one base at the same time, each row of a batch with its own: none is waited for.

    The adapters lie in one, of the sum of their ranks (`lora.mix`), and between its two matrices each row is multiplied
    by weights: the strength for the ranks of its own adapters, 0 for all others. So a voice is a strength or several,
    and no weights move from one to another.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._loras: dict[Hashable, Lora] = {}
        self._name: str | None = None
        self._weights_R1K: Tensor | None = None

    def __contains__(self, key: Hashable) -> bool:
        return key in self._loras

    def add(self, key: Hashable, lora: Lora, *, instead_of: Collection[Hashable] = ()) -> None:
        """Take in another adapter, and let go of those that it replaces, which no row in the making may have."""
        self._set({**{other: own for other, own in self._loras.items() if other not in instead_of}, key: lora})

    def remove(self, key: Hashable) -> None:
        """Let go of an adapter, which no row in the making may have."""
        self._set({other: lora for other, lora in self._loras.items() if other != key})

    def speak(self, voices: Sequence[Parts]) -> None:
        """The next passes hold rows of these voices."""
        if not self._loras:
            return
        weights_RK = torch.zeros((len(voices), sum(lora.config.r for lora in self._loras.values())))
        first = 0
        for key, lora in self._loras.items():
            for row, parts in enumerate(voices):
                weights_RK[row, first : first + lora.config.r] = sum(share for own, share in parts if own == key)
            first += lora.config.r
        self._weights_R1K = weights_RK[:, None].to(self._policy.hardware.device)

    def _set(self, loras: dict[Hashable, Lora]) -> None:
        before, self._name = self._name, None if not loras else _NAMES[self._name == _NAMES[0]]
        try:
            if self._name is not None:
                self._policy.put_adapter(self._name, mix([(lora, 1.0) for lora in loras.values()]))
        except BaseException:
            self._name = before  # which is still there, so that nobody loses a voice
            raise
        if before is not None:
            self._policy.remove(before)
        for name, module in self._policy.model.named_modules():
            if name.endswith(f".lora_B.{self._name}"):
                module.register_forward_pre_hook(self._weigh)
        self._loras = loras

    def _weigh(self, module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What reaches an adapter's second matrix, [R, T, K] or [R T, K], by the rows' weights."""
        (values, *others), weights_R1K = inputs, self._weights_R1K
        assert weights_R1K is not None, "told whose rows these are"
        if values.dim() == 2:
            rows = weights_R1K[:, 0]
            return (values * rows.repeat_interleave(len(values) // len(rows), 0), *others)
        return (values * weights_R1K, *others)


class BuiltinEngine:
    """Writes in a thread of its own from `start` to `stop`."""

    def __init__(self, policy: Policy) -> None:
        self.chorus = Chorus(policy)
        self._policy = policy
        self._changed = threading.Condition()
        self._waiting: list[Order] = []
        self._tasks: list[Callable[[], None]] = []
        self._adapters: OrderedDict[str, None] = OrderedDict()  # in memory, the one asked for last at the end
        self._orders: dict[int, Order] = {}  # texts in the making, by the index of their draws
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="ditto-engine", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; who waits for a text is told that there is none."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join()

    def submit(self, orders: Sequence[Order]) -> None:
        """Write these as soon as there is room."""
        with self._changed:
            if not self._is_over:
                self._waiting += orders
                self._changed.notify()
                return
        for order in orders:
            order.fail(ending())

    def between_tokens(self, task: Callable[[], object]) -> None:
        """Do something to the adapters while no pass is computed, and wait until it is done; its errors come here."""
        done: Future[object] = Future()

        def carry_out() -> None:
            try:
                done.set_result(task())
            except Exception as error:
                done.set_exception(error)

        with self._changed:
            if self._is_over:
                raise ending()
            self._tasks.append(carry_out)
            self._changed.notify()
        done.result()

    def has(self, key: str) -> bool:
        """Whether an adapter is in memory; being asked for it, it is the last to make room."""
        with self._changed:
            if key in self._adapters:
                self._adapters.move_to_end(key)
            return key in self._adapters

    def load(self, key: str, lora: Lora) -> None:
        """Have an adapter in memory; where many are, those that were longest not asked for make room."""

        def take_in() -> None:
            with self._changed:
                wanted = {part for order in (*self._orders.values(), *self._waiting) for part, _ in order.voice}
                idle = [other for other in self._adapters if other not in wanted]
                leaving = idle[: max(0, len(self._adapters) + 1 - MAX_ADAPTERS)]
            self.chorus.add(key, lora, instead_of=leaving)
            with self._changed:
                self._adapters = OrderedDict.fromkeys([*(o for o in self._adapters if o not in leaving), key])

        self.between_tokens(take_in)

    def forget(self, key: str) -> None:
        """Let go of an adapter at once, with all texts of it that are in the making."""

        def let_go() -> None:
            self.chorus.remove(key)
            with self._changed:
                self._adapters.pop(key, None)
            for order in self._orders.values():
                if not self._is_here(order):
                    order.fail(gone())

        self.between_tokens(let_go)

    def _is_here(self, order: Order) -> bool:
        return all(key in self.chorus for key, _ in order.voice)

    def _run(self) -> None:
        try:
            with packed_linears(self._policy, with_adapter=False):
                self._write()
        finally:
            with self._changed:
                self._is_over = True
                tasks, waiting = self._tasks, [*self._orders.values(), *self._waiting]
            for task in tasks:
                task()
            for order in waiting:
                order.fail(ending())

    def _write(self) -> None:
        slots: Slots | None = None
        number = 0
        while True:
            with self._changed:
                while not (self._waiting or self._tasks or self._orders or self._is_over):
                    self._changed.wait()
                if self._is_over:
                    return
                tasks, self._tasks = self._tasks, []
            for task in tasks:
                task()
            arrivals = []
            for order in self._arriving():
                request = SampleRequest(order.prompt_ids, order.seed)
                draw = Draw.begin(number, request, order.max_tokens, order.temperature)
                draw.top_p, draw.voice = order.top_p, order.voice
                arrivals.append(draw)
                self._orders[number] = order
                number += 1
            try:
                with torch.inference_mode():
                    slots = self._step(self._admit(slots, arrivals))
            except Exception as error:  # whatever a library makes of one of them, the next are written
                for order in self._orders.values():
                    order.fail(error)
                self._orders.clear()
                slots = None

    def _arriving(self) -> list[Order]:
        """Those who come in now: in their order, as many as there are slots and room for keys and values."""
        arriving: list[Order] = []
        with self._changed:
            cached = sum(order.num_tokens for order in self._orders.values())
            while self._waiting and len(self._orders) + len(arriving) < MAX_SLOTS:
                order = self._waiting[0]
                if not order.is_cancelled and not self._is_here(order):
                    order.fail(gone())
                elif order.num_tokens > self._policy.max_cached_tokens:
                    order.fail(InputError("Prompt and text are longer than memory holds: ask for fewer tokens."))
                elif not order.is_cancelled and cached + order.num_tokens > self._policy.max_cached_tokens:
                    break
                elif not order.is_cancelled:
                    arriving.append(order)
                    cached += order.num_tokens
                self._waiting.pop(0)
        return arriving

    def _admit(self, slots: Slots | None, arrivals: list[Draw]) -> Slots | None:
        """The slots with the arrivals in them; where they cannot be read, those who were there go on."""
        if not arrivals:
            return slots
        try:
            return admit(self._policy, slots, arrivals, self._speak)
        except Exception as error:
            for draw in arrivals:
                self._orders.pop(draw.index).fail(error)
            return slots

    def _step(self, slots: Slots | None) -> Slots | None:
        """The next token of each text; gives what goes on."""
        if slots is None:
            return None
        before = [draw.logp for draw in slots.draws]
        ended: dict[int, SampledTokens] = {}
        draw_next(slots.draws, slots.logits_RV, self._policy.chat.stop_token_ids, ended)
        for draw, logp in zip(slots.draws, before, strict=True):
            order, end = self._orders[draw.index], ended.get(draw.index)
            finish = None if end is None else "stop" if end.ended else "length"
            if not order.is_cancelled:
                order.on_token(Token(draw.token_ids[-1], draw.logp - logp, finish))
            if finish is not None or order.is_cancelled:
                del self._orders[draw.index]
        rows = [row for row, draw in enumerate(slots.draws) if draw.index in self._orders]
        return advance(self._policy, kept(slots, rows), self._speak) if rows else None

    def _speak(self, draws: Sequence[Draw]) -> None:
        self.chorus.speak([draw.voice for draw in draws])  # type: ignore[misc]
