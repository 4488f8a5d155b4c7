"""Topics of messages taken apart by a pattern, as MQTT writes them, with names for the parts that matter."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["TopicPattern"]

PART: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class TopicPattern:
    """A pattern such as `plant/{line}/{machine}/+`: `{name}` and `+` are one level, `#` at the end all the rest."""

    def __init__(self, text: str) -> None:
        """Compile; raise ValueError, saying what is wrong, where it is no pattern."""
        levels = text.split("/")
        parts: list[str] = []
        names: list[str] = []
        for place, level in enumerate(levels):
            named = PART.fullmatch(level)
            if named is not None:
                if named[1] in names:
                    raise ValueError(f"names {named[1]} twice")
                names.append(named[1])
                parts.append(f"(?P<{named[1]}>[^/]*)")
            elif level == "+":
                parts.append("[^/]*")
            elif level == "#" and place == len(levels) - 1:
                parts.append(".*")
            elif set(level) & set("{}+#"):
                raise ValueError(f"has the level {level!r}; a {{name}}, + or # stands alone, # at the end")
            else:
                parts.append(re.escape(level))
        self.text = text
        self.names = tuple(names)
        # As in MQTT, `a/#` is also `a` itself.
        body = "/".join(parts)
        if len(parts) > 1 and parts[-1] == ".*":
            body = "/".join(parts[:-1]) + "(?:/.*)?"
        self._pattern = re.compile(body, re.DOTALL)

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic, or None where it does not fit."""
        found = self._pattern.fullmatch(topic)
        return None if found is None else found.groupdict()
