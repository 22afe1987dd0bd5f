"""The book on paper: what the table of contents says of a page is where it stands."""

import os
import re
import subprocess
import sys
import unicodedata

from pypdf import PdfReader

from beyondloss.site.build import site_path


def test_the_contents_tell_on_which_page_a_section_stands(browser, site):
    scale = os.environ.get("SCALE", "quick")
    command = [sys.executable, "-m", "beyondloss.cli", "pdf", "--scale", scale]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reader = PdfReader(site_path(scale).with_name(f"{scale}-beyond-the-loss.pdf"))
    # NFKC: headings and contents are set in different fonts, one of which has ligatures
    texts = [unicodedata.normalize("NFKC", page.extract_text()) for page in reader.pages]
    contents = re.findall(r"^(.+?) (\d+)$", texts[1], re.MULTILINE)
    assert len(contents) > 10 and reader.outline
    for title, number in contents:
        assert title[:20] in " ".join(texts[int(number) - 1].split()), (title, number)
