"""The configuration: one TOML file, every key of it also an environment variable, the important
ones options of ``serve``.

`sections` has the keys, `environment` the variables, `checking` what cannot be meant, `reading` the
reader of all three, `config` what comes out, and `source` where each value comes from.
"""

from replicator.faces.configuration.config import Config
from replicator.faces.configuration.environment import Environment
from replicator.faces.configuration.reading import DEFAULT, Given, read_config
from replicator.faces.configuration.sections import File

__all__ = ["DEFAULT", "Config", "Environment", "File", "Given", "read_config"]
