"""What may be asked, in OpenAI's words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ditto_cli.serving.guard import MAX_BODY_BYTES

Text = Annotated[str, Field(max_length=MAX_BODY_BYTES)]
Stop = Annotated[str, Field(max_length=1000)]


class TextPart(BaseModel):
    """A piece of a message; pictures and sounds are refused."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    @property
    def turn(self) -> tuple[str, str]:
        """Role and content as chat templates know them."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return ("system" if self.role == "developer" else self.role), text


class Sampling(BaseModel):
    """What both kinds of requests may ask for; None is what the voice was trained with.

    `best_of` is the number of drafts of which each text is the best, as in `ditto sample`; what is streamed is drawn
    once unless more are asked for.
    """

    model: str = Field(max_length=512, pattern=r"^[ -~]+$")
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    n: int = Field(1, ge=1, le=8)
    best_of: int | None = Field(None, ge=1, le=64)
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class ChatRequest(Sampling):
    """`/v1/chat/completions`; `with_texts` of the person's texts are shown before the conversation."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    with_texts: int | None = Field(None, ge=0, le=9)


class CompletionRequest(Sampling):
    """`/v1/completions`: the prompt as it is, without the chat template."""

    prompt: Text
    logprobs: int | None = Field(None, ge=0)
