"""The kinds of node: one frozen model each, with the properties that only it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, JsonValue

from flownb.model.frozen import Frozen
from flownb.model.policy import Duration, Policy, Retry
from flownb.text.spans import Span


class BodyKind(StrEnum):
    """What a kind of node does with its body."""

    PYTHON = "python"
    """Python code, never a template."""
    TEMPLATE = "template"
    """Text with `{{ … }}`."""
    EXPRESSION = "expression"
    """One bare expression."""
    NONE = "none"
    """There is no body."""


class Use(Frozen):
    """One place where a node reads a name: in its body or in a property."""

    name: str
    """The name read, as `articles` or `inputs`."""
    attribute: str | None = None
    """What is taken from it where the text says so, as `topic` in `inputs.topic` and `inputs["topic"]`."""
    field: str = "body"
    """`body`, or the property that reads it, as `when`."""
    span: Span
    """Where it stands."""
    guarded: bool = False
    """Whether the text itself allows for the name being missing (`x is defined`, `x | default(1)`)."""
    is_table: bool = False
    """Whether it is named as a table, which is read where it is stored."""


class Rate(Frozen):
    """The most starts in a period."""

    count: int = Field(ge=1)
    """Starts."""
    period: float = Field(gt=0)
    """Seconds."""


class Foreach(Frozen):
    """A node that runs once per item of a list."""

    kind: Literal["foreach"] = "foreach"
    items: str
    """The expression that gives the list."""
    as_name: str = "item"
    """What the body calls the item."""
    collect: str | None = None
    """The expression for each item's value; None: the last node's value."""
    concurrency: int | None = Field(default=None, ge=1)
    """Most items at once; None: the run's."""
    rate: Rate | None = None
    """Most starts of items in a period."""


class Loop(Frozen):
    """A node that repeats in rounds."""

    kind: Literal["loop"] = "loop"
    condition: str
    """The expression that is looked at each round."""
    until: bool
    """True: stop when the condition is true, looked at after each round; False: go on while it is, looked at before."""
    max: int = Field(default=100, ge=1)
    """Most rounds."""
    every: Duration | None = None
    """Seconds between rounds."""


class NodeBase(Frozen):
    """What every node has."""

    TITLE: ClassVar[str]
    """The kind's name, as `bash`: the canonical word after the fence or of `type`."""
    READS: ClassVar[frozenset[str]] = frozenset()
    """Those of its own fields that name files which it reads: their content is part of its fingerprint."""

    id: str
    """The node's id, unique in its document."""
    heading: str
    """Its heading as the person wrote it."""
    span: Span
    """The heading's line."""
    policy: Policy = Field(default_factory=Policy)
    """How it is run; the document's `defaults` are already in it."""
    repeat: Annotated[Foreach | Loop, Field(discriminator="kind")] | None = None
    """Whether it runs once per item, in rounds, or once (None)."""
    spans: dict[str, Span] = {}
    """Property → where its value stands; `body` → the body's first line."""
    uses: tuple[Use, ...] = ()
    """The names that it reads itself, not those its children read."""


class Leaf(NodeBase):
    """A node that a runtime carries out. A plug-in's kind is a subclass with fields of its own."""

    ALIASES: ClassVar[tuple[str, ...]] = ()
    """Other words for it after a fence or `type`."""
    BODY: ClassVar[BodyKind] = BodyKind.TEMPLATE
    """What is done with the body."""
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset()
    """Those of its own fields that are bare expressions; every other text is a template."""
    LITERALS: ClassVar[frozenset[str]] = frozenset()
    """Those of its own text fields that are neither (a type, a choice)."""
    OWN_NAMES: ClassVar[Mapping[str, frozenset[str]]] = {}
    """Expression of its own → the names that only its runtime gives it, as `response`."""
    KNOWN_KEYS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Property that is a mapping → the keys that it may have, to name the nearest to a mistyped one."""
    TELLS: ClassVar[bool] = False
    """Whether its value is nothing but what it reads, put together: where that is a secret, the value tells it."""
    IS_PURE: ClassVar[bool] = False
    """Whether it only works something out: nothing outside the run sees that it began, so its end alone is written."""
    DEFAULT_RETRY_ON: ClassVar[tuple[str, ...]] = ()
    """What `retry` covers where `on` is not said; `()`: every error but SyntaxError, NameError and ImportError."""

    BODY_ELSE: ClassVar[str] = ""
    """The property that may stand in the body's place; empty: none may."""
    DEFAULT_RETRY: ClassVar[Retry | None] = None
    """What is tried again where neither the node nor the document says `retry`; None: nothing."""

    body: str = ""
    """The fence's text, without the last line break."""

    @property
    def uses_saved(self) -> bool:
        """Whether it keeps what it has while it runs (format.md, 5.5)."""
        return self.BODY is BodyKind.PYTHON and any(use.name == "saved" for use in self.uses)

    @classmethod
    def is_expression(cls, key: str, _text: str) -> bool:
        """Return whether what one of its own properties says is a bare expression; a kind may decide that by the text."""
        return key in cls.EXPRESSIONS


class PythonNode(Leaf):
    """Python code; its value is the last expression's."""

    TITLE: ClassVar[str] = "python"
    ALIASES: ClassVar[tuple[str, ...]] = ("py", "python3")
    BODY: ClassVar[BodyKind] = BodyKind.PYTHON


class ShellOutput(StrEnum):
    """What becomes of what a script printed."""

    TEXT = "text"
    """The text, without the last line break."""
    JSON = "json"
    """The data that the text stands for."""
    LINES = "lines"
    """A list of its lines."""


def _environment(value: object) -> object:
    """Let `env: {PORT: 8080}` be text, as an environment is."""
    if not isinstance(value, dict):
        return value
    return {
        key: str(item) if isinstance(item, int | float) and not isinstance(item, bool) else item
        for key, item in value.items()
    }


class ShellNode(Leaf):
    """A script run by bash."""

    TITLE: ClassVar[str] = "bash"
    ALIASES: ClassVar[tuple[str, ...]] = ("sh", "shell")
    LITERALS: ClassVar[frozenset[str]] = frozenset({"output"})

    cwd: str | None = None
    """The folder it runs in; None: the document's."""
    env: Annotated[dict[str, str], BeforeValidator(_environment)] = {}
    """Variables besides the process environment's."""
    output: ShellOutput = ShellOutput.TEXT
    """What its value is."""


class TextNode(Leaf):
    """A template whose value is text."""

    TITLE: ClassVar[str] = "text"
    TELLS: ClassVar[bool] = True
    IS_PURE: ClassVar[bool] = True


class MarkdownNode(Leaf):
    """A template whose value is Markdown, shown rendered."""

    TITLE: ClassVar[str] = "markdown"
    TELLS: ClassVar[bool] = True
    ALIASES: ClassVar[tuple[str, ...]] = ("md",)
    IS_PURE: ClassVar[bool] = True


class JsonNode(Leaf):
    """JSON with templates in it."""

    TITLE: ClassVar[str] = "json"
    TELLS: ClassVar[bool] = True
    IS_PURE: ClassVar[bool] = True


class YamlNode(Leaf):
    """YAML with templates in it."""

    TITLE: ClassVar[str] = "yaml"
    TELLS: ClassVar[bool] = True
    IS_PURE: ClassVar[bool] = True


class ExpressionNode(Leaf):
    """One expression."""

    TITLE: ClassVar[str] = "expr"
    TELLS: ClassVar[bool] = True
    IS_PURE: ClassVar[bool] = True
    BODY: ClassVar[BodyKind] = BodyKind.EXPRESSION


class FlowNode(Leaf):
    """Another workflow, run with inputs of its own."""

    TITLE: ClassVar[str] = "flow"
    BODY: ClassVar[BodyKind] = BodyKind.NONE

    path: str
    """The other document."""
    inputs: dict[str, JsonValue] = {}
    """Input → value; texts in it are templates."""


class DefaultAction(StrEnum):
    """What a checkpoint takes where no one can answer or its time is over."""

    APPROVE = "approve"
    """Go on."""
    REJECT = "reject"
    """Do not go on."""


class OnReject(StrEnum):
    """What a rejected checkpoint does to its run."""

    STOP = "stop"
    """The run ends as rejected."""
    CONTINUE = "continue"
    """The run goes on; what is below can look at the decision."""
    FAIL = "fail"
    """The node failed."""


def _expressions(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Expressions = Annotated[tuple[str, ...], BeforeValidator(_expressions)]
"""One expression or a list of them."""


class CheckpointNode(Leaf):
    """A question to a person. Its `policy.timeout` is the time to answer."""

    TITLE: ClassVar[str] = "checkpoint"
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"show"})
    LITERALS: ClassVar[frozenset[str]] = frozenset({"input", "default", "on_reject"})

    input: JsonValue = None
    """`text`, a type as text, or name → type; None: no field."""
    show: Expressions = ()
    """Expressions for what is shown with the question."""
    default: DefaultAction = DefaultAction.REJECT
    """The answer where none comes."""
    on_reject: OnReject = OnReject.STOP
    """What a reject does."""


class Container(NodeBase):
    """A node made of other nodes."""

    children: tuple[Node, ...] = ()
    """Its nodes, in the document's order."""


class Group(Container):
    """A section that only holds nodes together; with `repeat` it is a node of its own."""

    TITLE: ClassVar[str] = "group"


class Branch(Container):
    """Of its children the first whose `when` is true runs."""

    TITLE: ClassVar[str] = "branch"


class Parallel(Container):
    """Its children do not wait for each other."""

    TITLE: ClassVar[str] = "parallel"

    wait: Literal["all", "any"] | Annotated[int, Field(ge=1)] = "all"
    """How many children must succeed; the rest is cancelled."""


Node = Leaf | Group | Branch | Parallel
"""A node of any kind; leaves of any runtime."""


def is_transparent(node: NodeBase) -> bool:
    """Return whether a node is only structure: a group that neither repeats nor chooses."""
    return isinstance(node, Group) and node.repeat is None


def walk(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """Yield every node with all below it, in the document's order."""
    stack = list(reversed(nodes))
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Container):
            stack.extend(reversed(node.children))
