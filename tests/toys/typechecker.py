"""beartype as unit tests use it: an int passes for a float, as PEP 484 has it."""

from beartype import BeartypeConf, beartype

strict = beartype(conf=BeartypeConf(is_pep484_tower=True))
