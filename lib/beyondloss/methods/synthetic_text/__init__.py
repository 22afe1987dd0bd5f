"""Chapter 7: synthetic text by gradient matching, after Nguyen, Li and others."""
