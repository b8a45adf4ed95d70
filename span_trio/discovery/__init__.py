"""Finding the panels of a local network by multicast DNS. Needs the extra ``discovery``.

The rules of this room:

* A panel is its serial number. Hosts and addresses come and go, and a panel may have several of each (facts, lessons
  section D: two panels behind one address, one panel as ``span-….local`` and ``span-…-2.local``).
* zeroconf puts DNS messages into bytes and back, and nothing else of it is used: the sockets are trio's, so there is no
  thread, no second event loop, and nothing to wait for at the end. Only `messages` knows zeroconf. Its browser was
  tried (0.154): it believes answers from any port, does not tell who has sent them, forgets an address as soon as the
  panel is announced with another one on another interface, speaks on port 5353 only, and keeps an unbounded list of the
  names that a stranger makes up.
* `neighbours` is pure: messages and the time go in, panels and what is still to be asked come out.
* Whatever arrives is from strangers: it is bounded, and what does not parse is dropped. Nothing of it proves anything:
  anybody on the network can claim to be a panel. Its certificate proves who it is.

The rooms: `messages` (bytes), `neighbours` (what is known), `links` (sockets), `finder` (all of it).
"""

from .finder import PanelFinder, discover_panels, discovering_panels
from .neighbours import DiscoveredPanel

__all__ = ["DiscoveredPanel", "PanelFinder", "discover_panels", "discovering_panels"]
