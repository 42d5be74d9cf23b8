"""How an answer gets to the client: when it has a place in the batch, at once or streamed, whole or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from perfload.target.ai import faults, quirks, refusal
from perfload.target.ai.batch import Batch
from perfload.target.ai.exchange import CONNECTION, Exchange
from perfload.target.ai.faults import Fault
from perfload.target.ai.pacer import Pacer
from perfload.target.ai.provider import HeaderList
from perfload.target.ai.refusal import Refusal
from perfload.target.ai.reply import Chunk, Reply
from perfload.target.ai.settings import AiSettings
from perfload.target.ai.stream import Connection, Gaps, Pause, Stream, broken
from perfload.target.ai.truth import FINISHED, GONE, AiTruth, Tape
from perfload.target.asgi import ClientGone, client_is_gone

_EVENT_STREAM: HeaderList = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]


class Delivery:
    """Sends replies. `clock_ns` is `time.perf_counter_ns`."""

    def __init__(self, settings: AiSettings, truth: AiTruth, clock_ns: Callable[[], int]) -> None:
        self._settings = settings
        self._truth = truth
        self._clock_ns = clock_ns
        self._batch = Batch(settings.slots, settings.queue, settings.slowdown)
        self._pacer = Pacer(clock_ns)

    async def send(
        self, ask: Exchange, reply: Reply, fault: Fault | None, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Send `reply` with `headers`, as `fault` has it.

        Raises `Refusal` where there is no place, or the fault wants it, and `ClientGone`.
        """
        has_waited = await self._batch.enter()
        try:
            if has_waited:
                self._check_client(ask)
            begun_ns = self._clock_ns() if has_waited else ask.received_ns
            figures = self._truth.figures(ask.provider.name)
            figures.input_tokens += reply.question.input_tokens
            figures.cached_tokens += reply.cached_tokens
            if has_waited:
                figures.queue.record((begun_ns - ask.received_ns) // 1000)
            uncached = reply.question.input_tokens - reply.cached_tokens
            ttft_s = self._settings.ttft.draw(ask.source) + self._settings.prefill_s * uncached / 1000
            first_ns = begun_ns + int(ttft_s * 1e9)
            if reply.question.is_streamed:
                await self._stream(ask, reply, fault, first_ns, headers)
            else:
                await self._at_once(ask, reply, fault, first_ns, headers)
        finally:
            self._batch.leave()

    def _check_client(self, ask: Exchange) -> None:
        """Raise `ClientGone` where nobody waits any more; the truth says so."""
        if client_is_gone(ask.receive):
            self._truth.figures(ask.provider.name).left += 1
            raise ClientGone

    async def _at_once(
        self,
        ask: Exchange,
        reply: Reply,
        fault: Fault | None,
        first_ns: int,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        gaps = Gaps(self._settings.gap, ask.source, self._batch)
        steps = sum(1 for _ in reply.steps(self._settings.chunk, ask.source))
        due_ns = first_ns + sum(gaps.next_ns() for _ in range(steps))
        pause = Pause()
        self._pacer.add(due_ns + _stall_ns(fault), pause)
        await pause.done
        self._check_client(ask)
        name = fault.name if fault else ""
        if name == faults.STREAM_ERROR:
            raise Refusal(refusal.SERVER_ERROR)
        body = ask.provider.body(reply, ask.identity)
        half = body[: len(body) // 2]
        if name in (faults.CUT, faults.EARLY_END):
            await ask.send_whole(200, body, headers, sent=half)
            return
        if name != faults.MALFORMED:
            figures = self._truth.figures(ask.provider.name)
            figures.answers += 1
            figures.output_tokens += reply.output_tokens
        await ask.send_whole(200, half if name == faults.MALFORMED else body, headers)

    async def _stream(
        self,
        ask: Exchange,
        reply: Reply,
        fault: Fault | None,
        first_ns: int,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        idle = ask.provider.idle_event(reply, ask.identity)
        if quirks.COMMENTS in ask.identity.quirks:
            idle += quirks.COMMENT
        stream, tape = self._prepared(ask, reply, fault, idle)
        sent = [*_EVENT_STREAM, *headers, *ask.id_headers()]
        await ask.send({"type": "http.response.start", "status": 200, "headers": sent})
        tape.opened_ns = self._clock_ns()
        opening = quirks.opening(ask.provider.opening(reply, ask.identity), ask.identity.quirks, idle)
        await ask.send({"type": "http.response.body", "body": opening, "more_body": True})
        self._pacer.add(first_ns, stream)
        # Cancelled (the target stops), the future is: the stream sees that and sends no more.
        how = await stream.done
        if how not in (GONE, faults.CUT):
            await ask.send({"type": "http.response.body", "body": b"", "more_body": False})

    def _prepared(self, ask: Exchange, reply: Reply, fault: Fault | None, idle: bytes) -> tuple[Stream, Tape]:
        provider, identity = ask.provider, ask.identity
        connection: Connection = ask.scope[CONNECTION]
        tape = self._truth.begin(provider.name, identity.request_id, ask.received_ns)
        steps: Iterable[Sequence[Chunk]] = reply.steps(self._settings.chunk, ask.source)
        half, ends_as, stall = 1, FINISHED, (-1, 0)
        if fault is not None:
            steps = list(steps)
            half = max(1, len(steps) // 2)
            fault = fault if steps else None  # an answer without tokens has no middle
        frames = provider.frames(reply, identity, steps)
        if fault is not None and fault.name == faults.STALL:
            stall = (quirks.writes(half, identity.quirks), _stall_ns(fault))
        elif fault is not None:
            error = provider.error_event(Refusal(refusal.OVERLOADED), identity.request_id)
            frames = broken(frames, half, fault.name, error, provider.malformed_event())
            ends_as = fault.name if fault.name in faults.ENDING else FINISHED
        stream = Stream(
            connection,
            quirks.dressed(frames, identity.quirks, idle),
            Gaps(self._settings.gap, ask.source, self._batch),
            tape=tape,
            truth=self._truth,
            clock_ns=self._clock_ns,
            ends_as=ends_as,
            stall=stall,
        )
        return stream, tape


def _stall_ns(fault: Fault | None) -> int:
    return int(fault.stall_s * 1e9) if fault and fault.name == faults.STALL else 0
