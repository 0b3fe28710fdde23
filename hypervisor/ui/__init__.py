"""The building blocks of all pages: the operators' console and the members' portal build on it.

live          which part of a page the browser gets
previews      the page between an action and its confirmation
forms         the options of actions
charts        the geometry of bars and plots
templatetags  `blocks`: badges, figures, bars, plots; `links`: to the pages of things in the
              present door; `wording`: codes, times and amounts in words
data/         data that pages compute: timelines, occupancy, one cluster's data
static/       the style of the blocks, light and dark, and the script that refreshes a page
"""
