"""What the published site has beside the executed notebooks and the pages of `book`.

`figures`    each figure's number, its data, the commands that make it again
`chapters`   how a chapter opens, how it is cited, started elsewhere, downloaded
`library`    the reference of the library's functions, from their docstrings
`stage`      all of this, laid out for Sphinx
`extension`  what only Sphinx knows: links between theorem, proof and check, the glossary, tags of a page
`finish`     what stands around the pages: site map, feed, page for a wrong address, card of a link
`pdf`        the whole book on paper
"""
