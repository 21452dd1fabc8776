"""How a decision looks in a terminal. Every colour has its word beside it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group
from rich.text import Text

from quicklook.cli.view import reasons_block, status_text
from quicklook.core.decision import Decision, DecisionCard

WORDS = {Decision.GO_ON: "GO ON", Decision.REPEAT: "REPEAT", Decision.STOP: "STOP", Decision.CALL: "CALL SOMEBODY"}
STYLE = {Decision.GO_ON: "green", Decision.REPEAT: "yellow", Decision.STOP: "bold red", Decision.CALL: "bold magenta"}
_SHOWN = 12


def card_lines(card: DecisionCard) -> Iterator[str]:
    """The card below its first line: what was measured, the goal, reasons and what to do."""
    yield f"  {card.cameras} of {card.cameras_expected} cameras and {card.measured} of {card.expected} QAs measured; {'; '.join(card.goal_words)}"
    for override in card.overrides:
        yield reasons_block([f"{override.part or 'the exposure'}: {override.sentence}"])
    shown = card.reasons[:_SHOWN]
    if len(card.reasons) > _SHOWN:
        shown.append(f"and {len(card.reasons) - _SHOWN} more in decision.json")
    if shown or card.also:
        yield "  why:\n" + reasons_block([*shown, *(f"also: {text}" for text in card.also)], "    ")
    if card.causes:
        yield "  likely causes:\n" + reasons_block(card.causes[:_SHOWN], "    ")
    yield "  what to do:\n" + reasons_block(dict.fromkeys((card.action, *card.actions[:_SHOWN])), "    ")


def show_card(console: Console, card: DecisionCard) -> None:
    """The decision on an exposure, as one block."""
    head = Text.assemble((f"{card.night}/{card.expid:08d} ", ""), (WORDS[card.decision], STYLE[card.decision]), f": {card.why}   ")
    head.append_text(status_text(card.status))
    console.print(Group(head, *(Text(line) for line in card_lines(card))), soft_wrap=True)
