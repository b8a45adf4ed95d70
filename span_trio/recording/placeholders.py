"""The same placeholder for the same id or serial number, wherever it occurs; and which words stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..homie import is_valid_id
from ..span.harmless import ID_WORDS, is_member

__all__ = ["LONGEST", "MASK", "PANEL", "Placeholders"]

MASK: Final = "redacted"
"""Stands for a text that is not kept."""

PANEL: Final = "redacted-serial"
"""Stands for the panel's own serial number."""
LONGEST: Final = 256
"""Characters of a text that is kept."""
_MOST: Final = 65_536  # different ids; what comes after them shares one placeholder
_SHORTEST: Final = 4  # characters: anything shorter is in many words by chance
_WORD: Final = re.compile(r"([\W_]*)([^\W_]*)")
_TYPE: Final = re.compile(r"[a-z]+(?:[.-][a-z]+[0-9]{0,2})+")
_PROPERTY: Final = re.compile(r"[a-z]+[0-9]{0,2}(?:-(?:[a-z]+[0-9]{0,2}|[0-9]{1,2}))*")
_UUID: Final = re.compile(r"[0-9a-f]{32}")


class Placeholders:
    """Spells ids without what is particular to a house: ``nt-2143-c1akc-lugs-up`` is ``redacted-serial-lugs-up``.

    Words that every panel uses (`ID_WORDS`), and a number of up to two digits behind one, stay; what stands between
    them is replaced. Equal texts get equal placeholders, different ones different placeholders. Case is lost.
    """

    def __init__(self, serial_number: str) -> None:
        text = re.escape(serial_number.lower())
        self._whole = re.compile(rf"(?<![^\W_]){text}(?![^\W_])") if text else None
        self._runs: dict[str, str] = {}
        self._known: set[str] = set()
        self._secrets: list[tuple[re.Pattern[str], str]] = []
        if len(serial_number) >= _SHORTEST:
            self._secrets.append((re.compile(text, re.IGNORECASE), PANEL))

    def learn(self, ids: Iterable[str], serials: Iterable[str] = ()) -> None:
        """Remember ids and serial numbers. Those that come in one call keep their order when they are sorted."""
        serials = {text for text in serials if text.lower() not in self._known}
        for text in sorted({*ids, *serials}):
            if text and len(self._known) < _MOST:
                self.spell(text)
                self._known.add(text.lower())
        for text in sorted(serials):
            if len(text) >= _SHORTEST and len(self._secrets) < 256:
                self._secrets.append((re.compile(re.escape(text), re.IGNORECASE), self.spell(text)))

    def knows(self, text: str) -> bool:
        """Whether a text is, as a whole, an id or a serial number that was learnt."""
        return text.lower() in self._known

    def spell(self, text: str) -> str:
        """An id or a serial number with placeholders in it."""
        parts = [text.lower()] if self._whole is None else self._whole.split(text.lower())
        return PANEL.join(map(self._part, parts))

    def id(self, text: str) -> str:
        """As `spell`, for an id in a topic or a description: one that is not legal does not become legal."""
        spelt = self.spell(text)
        return spelt if is_valid_id(text) or not is_valid_id(spelt) else f"{spelt}_"

    def property(self, text: str) -> str:
        """A property's id: the schema's word, unless it does not look like one."""
        return text if _PROPERTY.fullmatch(text) else self.id(text)

    def member(self, text: str) -> str:
        """A declared member of an enum."""
        return text if is_member(text) else self.spell(text)

    def type(self, text: str) -> str:
        """The type of a device or node."""
        return text if len(text) <= LONGEST and _TYPE.fullmatch(text) else MASK

    def text(self, text: str) -> str:
        """A text that may be kept, without the serial numbers in it."""
        if len(text) > LONGEST:
            return MASK
        for secret, placeholder in self._secrets:
            text = secret.sub(placeholder, text)
        return text

    def _part(self, text: str) -> str:
        spelt: list[str] = []
        run: list[str] = []
        counted = False  # the word before is one that a number may follow
        for separator, word in _WORD.findall(text):
            harmless = word in ID_WORDS or (counted and word.isdecimal() and len(word) <= 2)
            counted = word in ID_WORDS
            if harmless or not word:
                spelt += (*self._replaced(run), separator, word)
                run = []
            elif run:
                run += (separator, word)
            else:
                spelt.append(separator)
                run = [word]
        return "".join((*spelt, *self._replaced(run)))

    def _replaced(self, run: list[str]) -> tuple[str, ...]:
        if not run:
            return ()
        text = "".join(run)
        bare = text.replace("-", "")
        key = bare if _UUID.fullmatch(bare) else text  # the flat schema writes one id with and without dashes
        if key not in self._runs and len(self._runs) >= _MOST:
            return ("redacted-others",)
        return (self._runs.setdefault(key, f"redacted-{len(self._runs) + 1:04}"),)
