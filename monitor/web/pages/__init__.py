"""The pages, in the order of the navigation. To add one: a module here with a `PAGE`, a template, a script, and its place in `PAGES`."""

from monitor.web.pages import alarms, exposure, housekeeping, night, now, system, trends

PAGES = (now.PAGE, night.PAGE, exposure.PAGE, trends.PAGE, housekeeping.PAGE, alarms.PAGE, system.PAGE)
