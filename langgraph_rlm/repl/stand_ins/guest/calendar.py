"""Stand-in for `calendar`: its numbers and English names. It lacks the printed calendars."""

__all__ = [
    *("FRIDAY", "MONDAY", "SATURDAY", "SUNDAY", "THURSDAY", "TUESDAY", "WEDNESDAY", "day_abbr"),
    *("day_name", "isleap", "leapdays", "month_abbr", "month_name", "monthcalendar", "monthrange"),
    *("timegm", "weekday"),
]

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)

day_name = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
day_abbr = [name[:3] for name in day_name]
month_name = [
    *("", "January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
]
month_abbr = [name[:3] for name in month_name]
_DAYS = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def isleap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def leapdays(y1, y2):
    y1 -= 1
    y2 -= 1
    return (y2 // 4 - y1 // 4) - (y2 // 100 - y1 // 100) + (y2 // 400 - y1 // 400)


def _ordinal(year, month, day):
    """Count days since the last day before the year 1."""
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400
    days += sum(_DAYS[:month]) + (month > 2 and isleap(year))
    return days + day


def _check(month):
    if not 1 <= month <= 12:
        raise ValueError("bad month number " + str(month) + "; must be 1-12")


def weekday(year, month, day):
    if not 1 <= month <= 12:
        raise ValueError("month must be in 1..12")
    if not 1 <= day <= _DAYS[month] + (month == 2 and isleap(year)):
        raise ValueError("day is out of range for month")
    return (_ordinal(year, month, day) + 6) % 7


def monthrange(year, month):
    _check(month)
    return weekday(year, month, 1), _DAYS[month] + (month == 2 and isleap(year))


def monthcalendar(year, month):
    first, days = monthrange(year, month)
    numbers = [0] * first + list(range(1, days + 1))
    numbers += [0] * (-len(numbers) % 7)
    return [numbers[start : start + 7] for start in range(0, len(numbers), 7)]


def timegm(tuple):
    year, month, day, hour, minute, second = tuple[:6]
    days = _ordinal(year, month, 1) - _ordinal(1970, 1, 1) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second
