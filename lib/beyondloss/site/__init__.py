"""What builds the book: chapters executed and stamped, generated parts of pages, the site, the PDF.

`notebook`   execute a chapter, stamp it with the code it used, normalise its outputs
`generated`  parts of pages that are made from chapters and results
`refresh`    keep committed outputs, results and generated parts up to date
`build`      from chapters to the rendered site

`benchmarks` tables of training speed
`mutants`    table of the mistakes that tests noticed
`figures`    each figure's number, its data, the commands that make it again
`chapters`   how a chapter opens, how it is cited, started elsewhere, downloaded
`library`    the reference of the library's functions, from their docstrings
`stage`      all of this, laid out for Sphinx
`extension`  what only Sphinx knows: links between theorem, proof and check, the glossary, tags of a page
`extras`     what the site has besides its pages: site map, page for a wrong address, card of a link
`theme_patches`  what the theme gets wrong on every page, mended
`pdf`        the whole book on paper
`readme_pictures`  the README's pictures of a page
"""
