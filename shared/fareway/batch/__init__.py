"""A file of prompts -> answers at half price, in the file's order.

In reading order: `records` and `rows` (the file), `store` and `job` (what a job keeps, so that it
can be gone on from), `lanes` and `plan` (where each row goes, what it will cost), `submit` and
`realtime` (getting the answers), `collect` (answers, costs and the summary), `run` (all of it).
Each step can be run again at any time: it does what is left to do.
"""
