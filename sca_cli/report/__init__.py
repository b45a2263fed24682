"""The results of a run as one HTML page.

`places` finds the files, and `gather` reads each record once. `counts` and `draw` store what the page shows. `arms`
groups the scores, `paired` compares arms. `measured`, `tables` and `reading` write the sections with `charts` and
`markup`, and `page` joins them.
"""
