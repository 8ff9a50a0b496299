from station import CLERKS as clerks
from station import Platform, announce, bell, counter, pass_through, stamp


class Timetable:
    """Uses what another module holds, each under a name of its own."""

    ways = {
        "gate": lambda: pass_through(Platform.gate),
        "door": lambda: pass_through(Platform.door()),
        "clerk": lambda: pass_through(clerks["north"].desk),
        "bell": lambda: pass_through(bell.get()),
        "announce": lambda: announce("late"),
        "stamp": lambda: stamp("ticket"),
        "counter": lambda: pass_through(counter()),
    }
