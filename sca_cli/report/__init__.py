"""What a run came to, as one HTML page.

`places` finds the files, `gather` reads each record once, `counts` and `draw` keep what is shown of it; `measured`,
`tables` and `reading` write the sections with `charts` and `markup`, `page` puts them together.
"""
