"""What can be set in a house, and what comes of a command: the same for all firmware. Pure.

The rules of this room:

* To judge a command is not to obey it: `judge` changes nothing, and says what would come of it now.
* A command is text. What is no value of its control is refused; nothing is guessed from it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ...enums import Control
from ..house.house import House
from ..house.switchboard import Answer, CommandResult

__all__ = ["Setting", "judge", "obey"]

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


class Setting(NamedTuple):
    """What a topic sets.

    Attributes:
        control: which control.
        of: whose: a circuit's id, a charger's node id; empty: the house's.
    """

    control: Control
    of: str = ""


def judge(house: House, setting: Setting, text: str) -> CommandResult:
    """What would come of a command as things stand, and what would stand then."""
    match setting.control:
        case Control.RELAY:
            return house.by_id[setting.of].judge_relay(text)
        case Control.PRIORITY:
            return house.by_id[setting.of].judge_priority(text)
        case Control.DOMINANT_POWER_SOURCE:
            return house.sources.judge_dominant(text)
        case Control.ISLANDING:
            return house.sources.judge_islanding(text)
        case Control.CHARGER_LOCK:
            return house.chargers[setting.of].judge_lock(text)
        case _:  # the limit of a charger: there is no other
            charger = house.chargers[setting.of]
            if _INTEGER.fullmatch(text):
                return charger.judge_limit(int(text))
            return CommandResult(Answer.INVALID, "" if charger.limit_a is None else str(charger.limit_a))


def obey(house: House, setting: Setting, text: str) -> None:
    """Do as a command says that `judge` accepts."""
    match setting.control:
        case Control.RELAY:
            house.set_relay(setting.of, text)
        case Control.PRIORITY:
            house.set_priority(setting.of, text)
        case Control.DOMINANT_POWER_SOURCE:
            house.set_dominant_power_source(text)
        case Control.ISLANDING:
            house.assert_islanding(text)
        case Control.CHARGER_LOCK:
            house.set_charger_lock(setting.of, text)
        case _:
            house.set_charge_limit(setting.of, int(text))
